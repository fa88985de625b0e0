/** What a retry of a run begins from: its plan, its round, and what it has done. */
import { createEvidence } from '../adapters/evidence/evidence.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { IR_VERSION, type Plan } from '../core/plan.js';
import { findStepPath, isInside, toPattern } from '../core/plan-paths.js';
import { toRetryState } from '../core/retry-state.js';
import type { RunState, StepState } from '../core/run-state.js';
import type { RunMemo } from '../workflows/contract.js';
import { CliFailure, EXIT } from './failure.js';
import { unknownRun } from './follow-run.js';
import { clean } from './output.js';
import { ownName } from './own-name.js';
import { queryWholeState } from './run-parts.js';
import {
  describeRun,
  evidenceRoots,
  isPlan,
  readRunFromEvidence,
  toRunStatus,
} from './run-record.js';
import { assertStep } from './run-terms.js';
import type { Session } from './session.js';

const RPC_TIMEOUT_MS = 5_000;
/** A worker may have to replay a long history first. */
const QUERY_TIMEOUT_MS = 20_000;

export interface Retry {
  readonly plan: Plan;
  readonly roundId: string;
  /** What the run did. */
  readonly before: RunState;
  /** What a new run takes over of that. */
  readonly state: RunState;
}

/**
 * Asks the server, and a worker for what the run has done. Throws CliFailure RUN_NOT_FOUND, RUN_OPEN, PLAN_MISSING,
 * WORKER_SILENT, USAGE.
 */
export async function readRetry(
  session: Session,
  runId: string,
  from: string | undefined,
): Promise<Retry> {
  const description = await describeRun(session, runId);
  if (description === null) throw unknownRun(runId, session);
  assertWhole(description.memo?.['adit'], runId);
  if (toRunStatus(description.status.name) === 'running') throw openRun(runId);
  const roots = evidenceRoots(session.settings.stateDir);
  const { plan, roundId } = await readStart(session, runId, roots);
  if (from !== undefined) assertStep(from, plan, '--from');
  const recorded = await recordedOutputs(roots, runId);
  const before = await queryRunState(session, runId, plan, from);
  return { plan, roundId, before, state: toRetryState(plan, before, from, recorded) };
}

/**
 * The same by the evidence folders alone: of a block only that it gave something is known, not what. Null where no folder
 * has the run. Throws CliFailure RUN_OPEN for one that has not recorded its end, and USAGE.
 */
export async function readRecordedRetry(
  roots: readonly string[],
  runId: string,
  from: string | undefined,
): Promise<Retry | null> {
  const record = await readRunFromEvidence(roots, runId);
  const plan = record === null ? null : await readRecordedPlan(roots, runId);
  if (record === null || plan === null) return null;
  const { view } = record;
  if (view.status === 'running') throw openRun(runId);
  if (from !== undefined) assertStep(from, plan, '--from');
  const recorded = await recordedOutputs(roots, runId);
  const begun = view.steps.filter(({ status }) => status !== 'pending');
  const steps = begun.map(
    ({ path, note: _note, decide: _decide, ...step }): [string, StepState] => {
      const outputs = step.uses.includes('.') ? recorded[path] : SOME_OUTPUTS;
      const gives = step.status === 'succeeded' && outputs !== undefined;
      return [path, { ...step, ...(gives && step.approval === undefined ? { outputs } : {}) }];
    },
  );
  const before: RunState = { steps: Object.fromEntries(steps) };
  const state = toRetryState(plan, before, from, recorded);
  return { plan, roundId: view.roundId, before, state };
}

/** What a block gave is not recorded. */
const SOME_OUTPUTS: JsonObject = {};

async function readRecordedPlan(roots: readonly string[], runId: string): Promise<Plan | null> {
  for (const root of roots) {
    const plan = await createEvidence(root)
      .readPlan(runId)
      .catch(() => null);
    if (isPlan(plan)) return plan;
  }
  return null;
}

function openRun(runId: string): CliFailure {
  return new CliFailure('RUN_OPEN', `The run "${runId}" has not ended; nothing was started.`, {
    hint: `Follow it with: ${ownName()} watch ${runId}; or end it first: ${ownName()} cancel ${runId}`,
  });
}

/** Throws USAGE for a part of a run: only the run can be tried again. */
function assertWhole(memo: unknown, id: string): void {
  const { part } = isJsonObject(memo) ? (memo as Partial<RunMemo>) : {};
  if (part === undefined) return;
  throw new CliFailure('USAGE', `"${id}" is a part of the run ${part.runId}.`, {
    hint: `Retry the run: ${ownName()} retry ${part.runId}, or from that part on with --from '${part.path}'.`,
    exitCode: EXIT.usage,
  });
}

/** What the run was started with: its own arguments, else, for the plan, its evidence. */
export async function readStart(
  session: Session,
  runId: string,
  roots: readonly string[],
): Promise<{ readonly plan: Plan; readonly roundId: string }> {
  const { defaultPayloadConverter } = await import('@temporalio/common');
  const { history } = await session.client.withDeadline(Date.now() + RPC_TIMEOUT_MS, () =>
    session.client.workflowService.getWorkflowExecutionHistory({
      namespace: session.server.namespace,
      execution: { workflowId: runId },
      maximumPageSize: 1,
    }),
  );
  const payload =
    history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0];
  const args: unknown =
    payload === undefined || payload === null ? null : defaultPayloadConverter.fromPayload(payload);
  const known: { readonly [name: string]: unknown } = isJsonObject(args) ? args : {};
  const roundId = typeof known['roundId'] === 'string' ? known['roundId'] : runId;
  if (isPlan(known['plan'])) return { plan: known['plan'], roundId };
  const plan = await readRecordedPlan(roots, runId);
  if (plan !== null) return { plan, roundId };
  throw new CliFailure(
    'PLAN_MISSING',
    `The run "${runId}" has no plan of version ${IR_VERSION} that could be run again.`,
    { hint: 'Start a new run from its pipeline file.' },
  );
}

/** Outputs that the run itself no longer keeps, by step path. */
async function recordedOutputs(
  roots: readonly string[],
  runId: string,
): Promise<{ readonly [path: string]: JsonObject }> {
  const outputs: { [path: string]: JsonObject } = {};
  for (const root of roots) {
    for (const record of await createEvidence(root)
      .readSteps(runId)
      .catch(() => [])) {
      const { path, status, outputs: recorded } = record;
      if (typeof path === 'string' && status === 'succeeded' && isJsonObject(recorded))
        outputs[path] = recorded;
    }
  }
  return outputs;
}

/** The state of the run and of its parts, outputs included: a worker reads it from the history, also of what has ended. */
async function queryRunState(
  session: Session,
  runId: string,
  plan: Plan,
  from: string | undefined,
): Promise<RunState> {
  // A part that holds the step from which on all is dropped is not kept whole.
  const target = from === undefined ? null : findStepPath(plan, from);
  const isWanted = (path: string): boolean =>
    target !== null && (isInside(target, path) || isInside(target, toPattern(path)));
  try {
    return await queryWholeState(session, runId, { timeoutMs: QUERY_TIMEOUT_MS, isWanted });
  } catch (error) {
    const reason = error instanceof Error ? clean(error.message, 200) : '';
    throw new CliFailure(
      'WORKER_SILENT',
      `No worker tells what the run "${runId}" has done; nothing was started. ${reason}`.trim(),
      {
        hint: `A worker of the task queue "${session.settings.taskQueue}" must run: ${ownName()} worker`,
      },
    );
  }
}
