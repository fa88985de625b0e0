/** `adit retry`: a new run of the same plan and round, from what an earlier run has done. */
import { createEvidence } from '../adapters/evidence/evidence.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { IR_VERSION, type Plan } from '../core/plan.js';
import { findStepPath, isInside, toPattern } from '../core/plan-paths.js';
import { toRetryState } from '../core/retry-state.js';
import type { RunState } from '../core/run-state.js';
import { toRunView } from '../core/run-view.js';
import type { RunMemo } from '../workflows/contract.js';
import type { RetryOptions } from './commands/retry.js';
import { noteHold } from './effect-hold.js';
import { CliFailure, EXIT, type ExitCode } from './failure.js';
import { unknownRun } from './follow-run.js';
import { clean, note } from './output.js';
import { ownName } from './own-name.js';
import { refuseRunningRound, roundLockOf } from './round-lock.js';
import { queryWholeState } from './run-parts.js';
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
    assertWhole(description.memo?.['adit'], runId);
    if (toRunStatus(description.status.name) === 'running') {
      throw new CliFailure('RUN_OPEN', `The run "${runId}" has not ended; nothing was started.`, {
        hint: `Follow it with: ${ownName()} watch ${runId}; or end it first: ${ownName()} cancel ${runId}`,
      });
    }
    const roots = evidenceRoots(session.settings.stateDir);
    const { plan, roundId } = await readStart(session, runId, roots);
    if (options.from !== undefined) assertStep(options.from, plan, '--from');
    const recorded = await recordedOutputs(roots, runId);
    const before = await queryRunState(session, runId, plan, options.from);
    const state = toRetryState(plan, before, options.from, recorded);
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

/** Which steps of the plan are taken over, and which the new run may have to run. */
function sortSteps(
  plan: Plan,
  state: RunState,
  runId: string,
  roundId: string,
): { readonly reused: string[]; readonly rerun: string[] } {
  const steps = new Map(Object.entries(state.steps));
  const view = toRunView(plan, steps, { runId, roundId }, { status: 'running', outputs: {} });
  const own = view.steps.filter(({ uses }) => uses.includes('.') || uses === 'pipeline');
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
