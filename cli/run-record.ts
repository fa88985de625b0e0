/** A run as commands read it: from the server while it knows the run, else from the evidence folder. */
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { createEvidence } from '../adapters/evidence/evidence.js';
import type { ErrorReport } from '../core/error.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import { IR_VERSION, type Plan } from '../core/plan.js';
import type { ApprovalState } from '../core/open-approval.js';
import type { RunStatus, StepState, StepStatus } from '../core/run-state.js';
import { toRunView, type RunView } from '../core/run-view.js';
import { partId, STATE_QUERY, WORKFLOW_TYPE } from '../workflows/contract.js';
import { deadlineOf, deadlineToJson } from './deadline-words.js';
import { withParts } from './run-parts.js';
import type { Session } from './session.js';

const RPC_TIMEOUT_MS = 5_000;
const QUERY_TIMEOUT_MS = 2_000;

export interface RunRecord {
  readonly view: RunView;
  /** The run's evidence folder. */
  readonly evidence: string;
  /** When it ends at the latest, ISO 8601, UTC; absent: it has no deadline, or only the server knew of it. */
  readonly deadline?: string;
  /** Something a reader must know about where this comes from; absent when it is the plain truth of now. */
  readonly remark?: string;
}

/** The run as `--json` prints it: the shape is public (docs/cli.md). */
export function toShowJson({ view, evidence, deadline }: RunRecord): JsonObject {
  return {
    runId: view.runId,
    roundId: view.roundId,
    pipeline: view.pipeline,
    status: view.status,
    outputs: view.outputs,
    steps: view.steps.map(
      ({ path: stepPath, uses, status, attempts, startedAt, endedAt, error, note, approval }) => ({
        path: stepPath,
        uses,
        status,
        attempts,
        startedAt: startedAt ?? null,
        endedAt: endedAt ?? null,
        ...(error === undefined ? {} : { error: toErrorJson(error, stepPath) }),
        ...(note === undefined ? {} : { note }),
        ...(approval === undefined ? {} : { approval: toApprovalJson(approval) }),
      }),
    ),
    ...(view.error === undefined ? {} : { error: toErrorJson(view.error, null) }),
    ...(deadline === undefined
      ? {}
      : { deadline: deadlineToJson(deadline, view.status === 'running', Date.now()) }),
    evidence,
    ...(view.bundle === undefined ? {} : { bundle: view.bundle }),
  };
}

function toApprovalJson({ approved, rejected, ...approval }: ApprovalState): JsonObject {
  return {
    ...approval,
    approved: approved.map((voice) => ({ ...voice })),
    ...(rejected === undefined ? {} : { rejected: { ...rejected } }),
  };
}

export function toErrorJson(
  { code, message, hint, step }: ErrorReport,
  stepPath: string | null,
): JsonObject {
  return { code, message, hint: hint ?? '', step: step ?? stepPath };
}

/** Folders that may hold the evidence of a run: those of the settings, of `adit dev` and of `adit demo`. */
export function evidenceRoots(stateDir: string): string[] {
  return [stateDir, path.join(stateDir, 'dev'), path.join(stateDir, 'demo')];
}

/** The run as the server knows it; null when it does not know it. */
export async function readRunFromServer(
  session: Session,
  runId: string,
  roots: readonly string[],
): Promise<RunRecord | null> {
  const handle = session.client.workflow.getHandle(runId);
  const description = await describeRun(session, runId);
  if (description === null) return null;
  const recorded = await readRunFromEvidence(roots, runId);
  const memo = description.memo?.['adit'];
  const evidence =
    recorded?.evidence ??
    (isJsonObject(memo) && typeof memo['evidence'] === 'string' ? memo['evidence'] : '');
  const deadline = deadlineOf(memo);
  const more = deadline === null ? {} : { deadline };
  const status = toRunStatus(description.status.name);
  const end = status === 'running' ? null : await readEnd(handle, session);
  const view =
    end === null ? await queryView(session, runId) : await withPartEnds(session, end, roots);
  if (view !== null) return { view, evidence, ...more };
  // No worker answers, and the end says nothing of the steps: what was recorded on disk is the next best.
  const fallback = recorded?.view ?? emptyView(runId, memo);
  return {
    view: {
      ...fallback,
      status,
      ...(status === 'failed' && fallback.error === undefined
        ? {
            error: {
              code: `RUN_${description.status.name}`,
              message: 'The run was ended on the server; its `finally` steps did not run.',
            },
          }
        : {}),
    },
    evidence,
    ...more,
    remark: 'No worker answers: the steps are as last recorded in the evidence folder.',
  };
}

/** How a closed run ended, its parts included; null when it left no word of that, or the server does not know it. */
export async function readEndedRun(
  session: Session,
  runId: string,
  roots: readonly string[],
): Promise<RunView | null> {
  const end = await readEnd(session.client.workflow.getHandle(runId), session);
  return end === null ? null : withPartEnds(session, end, roots);
}

function withPartEnds(session: Session, end: RunView, roots: readonly string[]): Promise<RunView> {
  return withParts(
    end,
    async ({ path: part }) =>
      (await readPartEnd(session, end.runId, part)) ?? (await recordedPart(roots, end.runId, part)),
  );
}

/** What the server says about a run; null when it does not know it. The workflows of others are no runs. */
export async function describeRun(session: Session, runId: string) {
  const { WorkflowNotFoundError } = await import('@temporalio/client');
  try {
    const description = await session.client.withDeadline(Date.now() + RPC_TIMEOUT_MS, () =>
      session.client.workflow.getHandle(runId).describe(),
    );
    return description.type === WORKFLOW_TYPE ? description : null;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError || isInvalidArgument(error)) return null;
    throw error;
  }
}

/** gRPC status of an id that no workflow can have: empty, or too long. */
function isInvalidArgument(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ((at as { code?: unknown }).code === 3) return true;
  }
  return false;
}

/** Views of parts that have ended, by workflow id: they do not change any more. */
export type EndedParts = Map<string, RunView>;

/** The run's own answer, and those of its parts; null when no worker gives one in time. */
export async function queryView(
  session: Session,
  runId: string,
  ended: EndedParts = new Map(),
): Promise<RunView | null> {
  const view = await queryOwnView(session, runId);
  if (view === null) return null;
  return withParts(view, async ({ path: part }) => {
    const id = partId(view.runId, part);
    const known = ended.get(id) ?? (await queryOwnView(session, id));
    if (known !== null && known.status !== 'running') ended.set(id, known);
    return known;
  });
}

async function queryOwnView(session: Session, runId: string): Promise<RunView | null> {
  try {
    const answer: unknown = await session.client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () =>
      session.client.workflow.getHandle(runId).query(STATE_QUERY),
    );
    return isRunView(answer) ? answer : null;
  } catch {
    return null;
  }
}

/** The view of a part of a run that is over; a part that was cancelled left none, so a worker is asked. */
async function readPartEnd(session: Session, runId: string, part: string): Promise<RunView | null> {
  const id = partId(runId, part);
  const description = await describeRun(session, id);
  if (description === null) return null;
  const isOpen = toRunStatus(description.status.name) === 'running';
  const end = isOpen ? null : await readEnd(session.client.workflow.getHandle(id), session);
  return end ?? (await queryOwnView(session, id));
}

/** The view that a closed run left as its result or as the details of its failure; null when it left none. */
async function readEnd(handle: WorkflowHandle, session: Session): Promise<RunView | null> {
  const { ApplicationFailure, WorkflowFailedError } = await import('@temporalio/client');
  try {
    const result: unknown = await session.client.withDeadline(Date.now() + RPC_TIMEOUT_MS, () =>
      handle.result(),
    );
    return isRunView(result) ? result : null;
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    const details: unknown =
      error.cause instanceof ApplicationFailure ? error.cause.details?.[0] : null;
    return isRunView(details) ? details : null;
  }
}

/** The run as its evidence folder tells it; null when no folder has it. */
export async function readRunFromEvidence(
  roots: readonly string[],
  runId: string,
): Promise<RunRecord | null> {
  for (const root of roots) {
    const evidence = createEvidence(root);
    const ended = await readable(evidence.readRun(runId));
    if (isRunView(ended)) {
      const whole = await withRecordedParts(ended, root);
      const bundle = (await readable(evidence.readBundleRoot(runId))) ?? null;
      const view = bundle === null ? whole : { ...whole, bundle };
      return { view, evidence: evidence.directory(runId) };
    }
    const plan = await readable(evidence.readPlan(runId));
    if (!isPlan(plan)) continue;
    return {
      view: viewOfRecords(plan, (await readable(evidence.readSteps(runId))) ?? [], runId),
      evidence: evidence.directory(runId),
      remark:
        ended === null
          ? 'The run has not recorded its end: this is what was recorded last.'
          : 'The record of its end is damaged: this is what was recorded before.',
    };
  }
  return null;
}

/** How a run ended, its parts included, by one evidence folder; null when that does not tell. */
export async function readRecordedEnd(root: string, runId: string): Promise<RunView | null> {
  const ended = await readable(createEvidence(root).readRun(runId));
  return isRunView(ended) ? withRecordedParts(ended, root) : null;
}

function withRecordedParts(ended: RunView, root: string): Promise<RunView> {
  return withParts(ended, ({ path: part }) => recordedPart([root], ended.runId, part));
}

async function recordedPart(
  roots: readonly string[],
  runId: string,
  part: string,
): Promise<RunView | null> {
  for (const root of roots) {
    const recorded = await readable(createEvidence(root).readPart(runId, part));
    if (isRunView(recorded)) return recorded;
  }
  return null;
}

/** What was read; null where nothing is, undefined when it is there and cannot be read. */
async function readable<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch {
    // Half a file, a file in place of a folder, a name that no folder can have: the run is not there.
    return undefined;
  }
}

export function isPlan(value: unknown): value is Plan {
  return isJsonObject(value) && value['irVersion'] === IR_VERSION && Array.isArray(value['steps']);
}

/** A view from the records of single steps; the blocks around them are taken to be running. */
function viewOfRecords(plan: Plan, records: readonly JsonObject[], runId: string): RunView {
  const steps = new Map<string, StepState>();
  for (const record of records) {
    const stepPath = record['path'];
    if (typeof stepPath !== 'string') continue;
    for (const block of blocksAround(stepPath)) {
      if (!steps.has(block)) steps.set(block, { status: 'running', uses: 'block', attempts: 1 });
    }
    steps.set(stepPath, toStepState(record));
  }
  return toRunView(plan, steps, { runId, roundId: runId }, { status: 'running', outputs: {} });
}

function blocksAround(stepPath: string): string[] {
  const blocks: string[] = [];
  for (let at = stepPath.lastIndexOf('/'); at > 0; at = stepPath.lastIndexOf('/', at - 1)) {
    const block = stepPath.slice(0, at);
    blocks.push(block);
    const item = /^(.*)#\d+$/.exec(block)?.[1];
    if (item !== undefined) blocks.push(item);
  }
  return blocks;
}

function toStepState(record: JsonObject): StepState {
  const { status, uses, start, startedAt, endedAt, error } = record;
  return {
    status: status === 'succeeded' || status === 'failed' ? status : 'running',
    uses: String(uses),
    attempts: Number(start ?? 1),
    ...(typeof startedAt === 'string' ? { startedAt } : {}),
    ...(typeof endedAt === 'string' ? { endedAt } : {}),
    ...(isJsonObject(error)
      ? { error: { code: String(error['code']), message: String(error['message']) } }
      : {}),
  };
}

/** Temporal's status of a run, in our words; a completed one may also have stopped, which its view says. */
export function toRunStatus(name: string): RunStatus {
  if (name === 'RUNNING' || name === 'CONTINUED_AS_NEW') return 'running';
  if (name === 'COMPLETED') return 'succeeded';
  return name === 'CANCELLED' || name === 'CANCELED' ? 'cancelled' : 'failed';
}

function emptyView(runId: string, memo: unknown): RunView {
  const known: { [name: string]: Json } = isJsonObject(memo) ? memo : {};
  return {
    runId,
    roundId: String(known['roundId'] ?? runId),
    pipeline: String(known['pipeline'] ?? ''),
    status: 'running',
    stage: '',
    outputs: {},
    steps: [],
  };
}

export function isRunView(value: unknown): value is RunView {
  return (
    isJsonObject(value) &&
    ['runId', 'roundId', 'pipeline', 'stage'].every((key) => typeof value[key] === 'string') &&
    RUN_STATUSES.some((status) => status === value['status']) &&
    Array.isArray(value['steps']) &&
    value['steps'].every(isStepView) &&
    isJsonObject(value['outputs']) &&
    isErrorReport(value['error'])
  );
}

const RUN_STATUSES: readonly RunStatus[] = [
  'running',
  'succeeded',
  'failed',
  'stopped',
  'cancelled',
];
const STEP_STATUSES: readonly StepStatus[] = [...RUN_STATUSES, 'pending', 'skipped', 'parked'];

function isStepView(step: unknown): boolean {
  return (
    isJsonObject(step) &&
    typeof step['path'] === 'string' &&
    typeof step['uses'] === 'string' &&
    STEP_STATUSES.some((status) => status === step['status']) &&
    isErrorReport(step['error'])
  );
}

function isErrorReport(error: unknown): boolean {
  return (
    error === undefined ||
    (isJsonObject(error) &&
      typeof error['code'] === 'string' &&
      typeof error['message'] === 'string')
  );
}
