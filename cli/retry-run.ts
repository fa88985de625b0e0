/** `adit retry`: a new run of the same plan and round, from what an earlier run has done. */
import { createEvidence } from '../adapters/evidence/evidence.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { IR_VERSION, type Plan } from '../core/plan.js';
import { toRetryState } from '../core/retry-state.js';
import type { RunState } from '../core/run-state.js';
import { toRunView } from '../core/run-view.js';
import { RUN_STATE_QUERY } from '../workflows/contract.js';
import type { RetryOptions } from './commands/retry.js';
import { noteHold } from './effect-hold.js';
import { CliFailure, type ExitCode } from './failure.js';
import { unknownRun } from './follow-run.js';
import { clean, note } from './output.js';
import { ownName } from './own-name.js';
import { refuseRunningRound, roundLockOf } from './round-lock.js';
import { describeRun, evidenceRoots, isPlan, toRunStatus } from './run-record.js';
import { assertStep } from './run-terms.js';
import { openSession, type Session } from './session.js';
import { showStarted } from './show-started.js';
import { startRun } from './start-run.js';

const RPC_TIMEOUT_MS = 5_000;
/** A worker may have to replay a long history first. */
const QUERY_TIMEOUT_MS = 20_000;

/** Starts the new run; returns the exit code of its end. Throws CliFailure RUN_NOT_FOUND, RUN_OPEN, WORKER_SILENT, PLAN_MISSING, ROUND_RUNNING. */
export async function retryRun(runId: string, options: RetryOptions): Promise<ExitCode> {
  const session = await openSession(options);
  try {
    const description = await describeRun(session, runId);
    if (description === null) throw unknownRun(runId, session);
    if (toRunStatus(description.status.name) === 'running') {
      throw new CliFailure('RUN_OPEN', `The run "${runId}" has not ended; nothing was started.`, {
        hint: `Follow it with: ${ownName()} watch ${runId}; or end it first: ${ownName()} cancel ${runId}`,
      });
    }
    const roots = evidenceRoots(session.settings.stateDir);
    const { plan, roundId } = await readStart(session, runId, roots);
    if (options.from !== undefined) assertStep(options.from, plan, '--from');
    const recorded = await recordedOutputs(roots, runId);
    const state = toRetryState(plan, await queryRunState(session, runId), options.from, recorded);
    const { reused, rerun } = sortSteps(plan, state, runId, roundId);
    note(`Again from ${runId}, round ${roundId}.`);
    note(`  reused: ${reused.length === 0 ? 'nothing' : list(reused)}`);
    note(`  runs:   ${rerun.length === 0 ? 'nothing' : list(rerun)}`);
    const lockId = roundLockOf(plan, session.settings);
    if (lockId !== null) await refuseRunningRound(session, lockId, plan);
    await noteHold(session.settings.stateDir, plan);
    const started = await startRun(session, plan, note, {
      roundId,
      state,
      ...(lockId === null ? {} : { lockId }),
    });
    return await showStarted(
      session,
      { ...started, roundId },
      { ...options, more: { retryOf: runId, reused, rerun } },
    );
  } finally {
    await session.close();
  }
}

/** What the run was started with: its own arguments, else, for the plan, its evidence. */
async function readStart(
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
  for (const root of roots) {
    const plan = await createEvidence(root)
      .readPlan(runId)
      .catch(() => null);
    if (isPlan(plan)) return { plan, roundId };
  }
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

/** The run's own state, outputs included: a worker reads it from the history, also of a run that has ended. */
async function queryRunState(session: Session, runId: string): Promise<RunState> {
  let reason = '';
  try {
    const state: unknown = await session.client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () =>
      session.client.workflow.getHandle(runId).query(RUN_STATE_QUERY),
    );
    if (isRunState(state)) return state;
    reason = 'Its answer is not understood.';
  } catch (error) {
    reason = error instanceof Error ? clean(error.message, 200) : '';
  }
  throw new CliFailure(
    'WORKER_SILENT',
    `No worker tells what the run "${runId}" has done; nothing was started. ${reason}`.trim(),
    {
      hint: `A worker of the task queue "${session.settings.taskQueue}" must run: ${ownName()} worker`,
    },
  );
}

function isRunState(value: unknown): value is RunState {
  return (
    isJsonObject(value) &&
    isJsonObject(value['steps']) &&
    Object.values(value['steps']).every(
      (step) => isJsonObject(step) && typeof step['status'] === 'string',
    )
  );
}

/** Which steps of the plan are taken over, and which the new run may have to run. */
function sortSteps(
  plan: Plan,
  state: RunState,
  runId: string,
  roundId: string,
): { readonly reused: string[]; readonly rerun: string[] } {
  const steps = new Map(Object.entries(state.steps));
  const view = toRunView(plan, steps, { runId, roundId }, { status: 'running', outputs: {} });
  const own = view.steps.filter(({ uses }) => uses.includes('.'));
  const isReused = (status: string): boolean => status === 'succeeded' || status === 'skipped';
  return {
    reused: own.filter(({ status }) => isReused(status)).map(({ path }) => path),
    rerun: own.filter(({ status }) => !isReused(status)).map(({ path }) => path),
  };
}

function list(paths: readonly string[]): string {
  const shown = paths.slice(0, 30).map((path) => clean(path, 100));
  return paths.length > 30 ? `${shown.join(', ')} and ${paths.length - 30} more` : shown.join(', ');
}
