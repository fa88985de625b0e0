import type { WorkflowExecutionInfo } from '@temporalio/client';
import { createEvidence } from '../adapters/evidence/evidence.js';
import type { ServerFlags } from '../adapters/temporal-server/choose-server.js';
import { TemporalServerError } from '../adapters/temporal-server/server-error.js';
import { isJsonObject } from '../core/json.js';
import type { RunStatus } from '../core/run-state.js';
import type { RunView } from '../core/run-view.js';
import { WORKFLOW_TYPE } from '../workflows/contract.js';
import { deadlineOf } from './deadline-words.js';
import { isPart, parkedIn, queryViews } from './parked-steps.js';
import { timeOfRunId } from './run-id.js';
import { evidenceRoots, isRunView, readRunFromEvidence, toRunStatus } from './run-record.js';
import { openSession, readSettings, type Session } from './session.js';

/** One line of `adit list --json`; the shape is public (docs/cli.md). */
interface ListedRun {
  readonly runId: string;
  readonly roundId: string;
  readonly pipeline: string;
  readonly status: RunStatus;
  /** The step that is under way in the outermost block; empty when it is not known. */
  readonly stage: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  /** When the run ends, or had to end, at the latest; null where it has no deadline, or only the server knew of it. */
  readonly deadline: string | null;
  /** Paths of the steps that wait for a person; empty also where no worker answers. */
  readonly parked: readonly string[];
  /** Those of them that wait for approval. */
  readonly approvals: readonly string[];
}

export interface RunList {
  readonly runs: readonly ListedRun[];
  /** Why the list may be incomplete; null when it is not. */
  readonly remark: string | null;
}

const STATUSES: readonly RunStatus[] = ['running', 'succeeded', 'failed', 'stopped', 'cancelled'];

/** Runs of the server and of the evidence folders, newest first; without a server the folders alone answer. */
export async function listRuns(flags: ServerFlags, limit: number): Promise<RunList> {
  const settings = await readSettings();
  const roots = evidenceRoots(settings.stateDir);
  const listed = new Map<string, ListedRun>();
  let remark: string | null = null;
  try {
    const session = await openSession(flags);
    for (const run of await listFromServer(session, roots, limit)) listed.set(run.runId, run);
    await session.close();
  } catch (error) {
    // No server at all is a usual state of a machine; one that was named and is away is worth the error's words.
    if (!(error instanceof TemporalServerError)) throw error;
    remark = `${error.message} These are the runs of the evidence folders.`;
  }
  for (const root of roots) {
    for (const runId of await createEvidence(root).listRuns()) {
      if (!listed.has(runId)) {
        const run = await listFromEvidence(roots, runId);
        if (run !== null) listed.set(runId, run);
      }
    }
  }
  const runs = [...listed.values()].toSorted((a, b) =>
    (b.startedAt ?? '').localeCompare(a.startedAt ?? ''),
  );
  return { runs: runs.slice(0, limit), remark };
}

async function listFromServer(
  session: Session,
  roots: readonly string[],
  limit: number,
): Promise<ListedRun[]> {
  const runs: ListedRun[] = [];
  const found = session.client.workflow.list({
    // A run whose history grew long has an execution for each part of it; the last one stands for it.
    query: `WorkflowType="${WORKFLOW_TYPE}" AND ExecutionStatus != "ContinuedAsNew"`,
    pageSize: Math.min(limit, 200),
  });
  for await (const execution of found) {
    // A part of a run, which is listed itself.
    if (isPart(execution)) continue;
    const memo = execution.memo?.['adit'];
    const known: { readonly [name: string]: unknown } = isJsonObject(memo) ? memo : {};
    const attributes = Object.fromEntries(
      execution.typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]),
    );
    runs.push({
      runId: execution.workflowId,
      roundId: String(known['roundId'] ?? execution.workflowId),
      pipeline: String(known['pipeline'] ?? ''),
      status: await statusOf(
        session,
        execution.workflowId,
        execution.status.name,
        attributes['AditVerdict'],
        roots,
      ),
      stage: String(attributes['AditStage'] ?? ''),
      startedAt: startedAtOf(execution),
      endedAt: execution.closeTime?.toISOString() ?? null,
      deadline: deadlineOf(memo),
      ...NOBODY,
    });
    if (runs.length === limit) break;
  }
  const open = runs.filter(({ status }) => status === 'running').map(({ runId }) => runId);
  const views = await queryViews(session, open);
  return runs.map((run) => {
    const view = views.get(run.runId);
    return view === undefined ? run : { ...run, ...waitingIn(view) };
  });
}

/** When the run began: an execution that goes on with it began later. */
function startedAtOf({ workflowId, runId, startTime, raw }: WorkflowExecutionInfo): string {
  const isFirst = (raw.firstRunId ?? runId) === runId;
  return (isFirst ? null : timeOfRunId(workflowId)) ?? startTime.toISOString();
}

const NOBODY = { parked: [], approvals: [] };

function waitingIn(view: RunView): Pick<ListedRun, 'parked' | 'approvals'> {
  const parked = parkedIn(view);
  return {
    parked: parked.map(({ path }) => path),
    approvals: parked.flatMap(({ path, approval }) => (approval === undefined ? [] : [path])),
  };
}

/** A completed workflow has succeeded or stopped; which of both stands in its verdict, its evidence or its result. */
async function statusOf(
  session: Session,
  runId: string,
  name: string,
  verdict: unknown,
  roots: readonly string[],
): Promise<RunStatus> {
  const status = toRunStatus(name);
  if (status !== 'succeeded') return status;
  const known = STATUSES.find((candidate) => candidate === verdict);
  if (known !== undefined) return known;
  const recorded = await readRunFromEvidence(roots, runId);
  if (recorded !== null && recorded.view.status !== 'running') return recorded.view.status;
  const result: unknown = await session.client.workflow.getHandle(runId).result();
  return isRunView(result) ? result.status : status;
}

async function listFromEvidence(
  roots: readonly string[],
  runId: string,
): Promise<ListedRun | null> {
  const record = await readRunFromEvidence(roots, runId);
  if (record === null) return null;
  const { view } = record;
  const times = view.steps.flatMap(({ startedAt }) => (startedAt === undefined ? [] : [startedAt]));
  const ends = view.steps.flatMap(({ endedAt }) => (endedAt === undefined ? [] : [endedAt]));
  return {
    runId,
    roundId: view.roundId,
    pipeline: view.pipeline,
    status: view.status,
    stage: view.stage,
    startedAt: times.toSorted()[0] ?? timeOfRunId(runId),
    endedAt: view.status === 'running' ? null : (ends.toSorted().at(-1) ?? null),
    deadline: null,
    ...(view.status === 'running' ? waitingIn(view) : NOBODY),
  };
}
