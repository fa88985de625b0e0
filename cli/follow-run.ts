/** Follows a run until it has ended: polls the server, and tells what it sees. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowExecutionDescription } from '@temporalio/client';
import { isJsonObject, type JsonObject } from '../core/json.js';
import type { RunView } from '../core/run-view.js';
import { CliFailure, isLostServer } from './failure.js';
import { openParts } from './run-parts.js';
import {
  describeRun,
  queryView,
  readRunFromServer,
  type EndedParts,
  type RunRecord,
} from './run-record.js';
import type { Session } from './session.js';

const POLL_MS = 500;
/** A task that waits longer than this for a worker is worth a remark. */
const PATIENCE_MS = 3_000;
/** A worker's poll takes a minute at most, so one that is older is of a worker that is gone. */
const POLLER_LIFE_MS = 70_000;
const RPC_TIMEOUT_MS = 5_000;

/** A step that is under way, as the server sees its activity. */
export interface PendingStep {
  /** The step's path, without the number of the try. */
  readonly path: string;
  /** Attempt on Temporal's side: lost workers and looks at something that is not there yet count here. */
  readonly attempt: number;
  /** Its latest status: training loss, ETA and the like. */
  readonly status: JsonObject;
  /** What it waits for, when it is between two looks; null otherwise. */
  readonly waitingFor: string | null;
}

export interface RunSnapshot {
  /** Null until a worker has answered for the first time. */
  readonly view: RunView | null;
  readonly pending: readonly PendingStep[];
  /** Why nothing moves: no worker, or a server that is away. */
  readonly stalled: string | null;
}

type PendingActivity = NonNullable<
  WorkflowExecutionDescription['raw']['pendingActivities']
>[number];

export interface Following {
  readonly session: Session;
  readonly runId: string;
  readonly roots: readonly string[];
  readonly onSnapshot: (snapshot: RunSnapshot) => Promise<void>;
  /** Aborted: the watcher goes away, the run goes on; rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

/** The run's end. A server that is away for a while is waited for. */
export async function followRun(following: Following): Promise<RunRecord> {
  const { session, runId, roots, signal, onSnapshot } = following;
  let view: RunView | null = null;
  const endedParts: EndedParts = new Map();
  for (;;) {
    signal.throwIfAborted();
    try {
      const description = await describeRun(session, runId);
      if (description === null) throw unknownRun(runId, session);
      if (description.status.name !== 'RUNNING' && description.status.name !== 'CONTINUED_AS_NEW') {
        const ended = await readRunFromServer(session, runId, roots);
        if (ended !== null) {
          await onSnapshot({ view: ended.view, pending: [], stalled: null });
          return ended;
        }
      }
      const open = [description, ...(await describeParts(session, view))];
      const stalled = await findFirstStall(session, open);
      // Without a worker a query only waits for its deadline.
      if (stalled === null) view = (await queryView(session, runId, endedParts)) ?? view;
      await onSnapshot({ view, pending: open.flatMap(pendingSteps), stalled });
    } catch (error) {
      if (!isLostServer(error)) throw error;
      await onSnapshot({
        view,
        pending: [],
        stalled: 'the Temporal server does not answer; the run waits for it',
      });
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** Most parts of a run whose own work is looked at. */
const MAX_PARTS = 20;

/** What the server says of the parts that were under way at the last look. */
async function describeParts(
  session: Session,
  view: RunView | null,
): Promise<WorkflowExecutionDescription[]> {
  const ids = view === null ? [] : openParts(view).slice(0, MAX_PARTS);
  const described = await Promise.all(ids.map((id) => describeRun(session, id)));
  return described.filter((one) => one !== null);
}

async function findFirstStall(
  session: Session,
  descriptions: readonly WorkflowExecutionDescription[],
): Promise<string | null> {
  for (const description of descriptions) {
    const stalled = await findStall(session, description);
    if (stalled !== null) return stalled;
  }
  return null;
}

/** The failure of a command that was given a run which nobody knows. */
export function unknownRun(runId: string, session: Session | null): CliFailure {
  const where =
    session === null ? '' : ` The server at ${session.server.address} does not know it, and`;
  return new CliFailure(
    'RUN_NOT_FOUND',
    `There is no run "${runId}".${where === '' ? ' No' : `${where} no`} evidence folder has it.`,
    {
      hint: '`adit list` shows the runs; `--address` and ADIT_STATE_DIR say where to look.',
    },
  );
}

function pendingSteps(description: WorkflowExecutionDescription): PendingStep[] {
  const steps = (description.raw.pendingActivities ?? []).filter(isOfStep);
  return steps.map((activity) => {
    const type = activity.lastFailure?.applicationFailureInfo?.type;
    const waits = type === 'NOT_YET' && Number(activity.state) === ACTIVITY_SCHEDULED;
    return {
      path: (activity.activityId ?? '').replace(/~\d+$/, ''),
      attempt: activity.attempt ?? 1,
      status: decodeStatus(activity.heartbeatDetails?.payloads?.[0]?.data),
      waitingFor: waits ? (activity.lastFailure?.message ?? '') : null,
    };
  });
}

/** False for what the engine does beside the steps: choosing a host, ending a program, checking a decision. */
function isOfStep({ activityType }: PendingActivity): boolean {
  return activityType?.name?.startsWith('adit.') !== true;
}

/** `PendingActivityState` and `PendingWorkflowTaskState` of Temporal's API: not taken by a worker yet. */
const ACTIVITY_SCHEDULED = 1;
const WORKFLOW_TASK_SCHEDULED = 1;
/** `TaskQueueType` of Temporal's API. */
const WORKFLOW_QUEUE = 1;
const ACTIVITY_QUEUE = 2;

function decodeStatus(data: Uint8Array | null | undefined): JsonObject {
  if (data === null || data === undefined) return {};
  try {
    const value: unknown = JSON.parse(Buffer.from(data).toString('utf8'));
    return isJsonObject(value) ? value : {};
  } catch {
    return {};
  }
}

/** Why no worker takes what is ready; null when something moves, or has not waited long. */
async function findStall(
  session: Session,
  description: WorkflowExecutionDescription,
): Promise<string | null> {
  const { pendingWorkflowTask, pendingActivities } = description.raw;
  if (pendingWorkflowTask && Number(pendingWorkflowTask.state) === WORKFLOW_TASK_SCHEDULED) {
    // A sticky task goes back to the common queue after its timeout, so only the original time tells how long it waits.
    const since = pendingWorkflowTask.originalScheduledTime ?? pendingWorkflowTask.scheduledTime;
    if (waitedMs(since) > PATIENCE_MS)
      return describeQueue(session, description.taskQueue, WORKFLOW_QUEUE);
  }
  const waiting = pendingActivities?.find(
    ({ state, attempt, scheduledTime }) =>
      Number(state) === ACTIVITY_SCHEDULED &&
      attempt === 1 &&
      waitedMs(scheduledTime) > PATIENCE_MS,
  );
  if (waiting === undefined) return null;
  const queue = waiting.activityOptions?.taskQueue?.name ?? description.taskQueue;
  const busy = await describeQueue(session, queue, ACTIVITY_QUEUE);
  return isOfStep(waiting) ? `step ${waiting.activityId ?? ''}: ${busy}` : busy;
}

async function describeQueue(
  session: Session,
  queue: string,
  taskQueueType: number,
): Promise<string> {
  const answer = await session.client.withDeadline(Date.now() + RPC_TIMEOUT_MS, () =>
    session.client.workflowService.describeTaskQueue({
      namespace: session.server.namespace,
      taskQueue: { name: queue },
      // The enum lives in a package of generated code that is not ours to depend on.
      // oxlint-disable-next-line typescript/no-unsafe-enum-assignment
      taskQueueType,
    }),
  );
  const sinceMs = Math.min(
    ...(answer.pollers ?? []).map(({ lastAccessTime }) => waitedMs(lastAccessTime)),
  );
  if (sinceMs > POLLER_LIFE_MS) {
    return `no worker polls the task queue "${queue}"; start one with \`adit worker\``;
  }
  // Its last poll may be of a worker that has just gone, or of one that is busy: the server cannot tell.
  return `no worker has taken what waits on the task queue "${queue}"; is one running?`;
}

function waitedMs(time: { seconds?: unknown; nanos?: number | null } | null | undefined): number {
  if (time === null || time === undefined) return 0;
  return Date.now() - (Number(time.seconds ?? 0) * 1000 + (time.nanos ?? 0) / 1e6);
}
