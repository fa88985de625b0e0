/** `adit retry`: a new run of the same plan and round, from what an earlier run has done. */
import type { Plan } from '../core/plan.js';
import type { RunState } from '../core/run-state.js';
import { toRunView } from '../core/run-view.js';
import type { RetryOptions } from './commands/retry.js';
import { noteHold } from './effect-hold.js';
import type { ExitCode } from './failure.js';
import { clean, note } from './output.js';
import { refuseRunningRound, roundLockOf } from './round-lock.js';
import { readRetry } from './retry-basis.js';
import { openSession } from './session.js';
import { showStarted } from './show-started.js';
import { startRun } from './start-run.js';

/** Starts the new run; returns the exit code of its end. Throws CliFailure RUN_NOT_FOUND, RUN_OPEN, WORKER_SILENT, PLAN_MISSING, ROUND_RUNNING. */
export async function retryRun(runId: string, options: RetryOptions): Promise<ExitCode> {
  const session = await openSession(options);
  try {
    const { plan, roundId, state } = await readRetry(session, runId, options.from);
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
