/**
 * One run at a time for a task and a hotkey: a child workflow whose id names both, and which the server ends with its
 * parent however that ends. Who waits for it can read from it which run holds it.
 *
 * A reset leaves the lock with the execution that was reset: the server ends it no more, and the run that goes on lets
 * it go by itself, to take it anew and when it ends. The lock of an execution that hands its run over is ended too: the
 * next one takes it anew, and waits where another run was faster in that moment.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  CancellationScope,
  condition,
  defineSignal,
  getExternalWorkflowHandle,
  log,
  setHandler,
  sleep,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { errorMessage, type ErrorReport } from '../core/error.js';
import { ROUND_LOCK_TYPE, type CarriedOver } from './contract.js';
import { wasReset } from './was-reset.js';

/** Its argument is the id of the run that lets go; that of another run changes nothing. */
const RELEASE = defineSignal<[string]>('release');

/** Ends with its parent, or when that lets go. */
export async function roundLock(): Promise<void> {
  let isReleased = false;
  setHandler(RELEASE, (by) => {
    isReleased ||= by === workflowInfo().parent?.workflowId;
  });
  await condition(() => isReleased);
}

/** Lets go of a lock that this run took before it was reset. Never throws, but for a cancellation. */
export async function releaseAfterReset(lockId: string, carried?: CarriedOver): Promise<void> {
  if (!wasReset(carried)) return;
  try {
    await getExternalWorkflowHandle(lockId).signal(RELEASE, workflowInfo().workflowId);
  } catch (error) {
    log.info('There was no lock of the round to let go.', { reason: errorMessage(error) });
  }
}

/** The server ends the lock of a run that has just closed a moment later. */
const PAUSES_MS = [1_000, 1_000];

/** Its own lock of a moment ago: the shorter it is free, the less another run may come between. */
const CARRIED_PAUSES_MS = Array.from({ length: 30 }, () => 100);

/** Where another run was faster nevertheless. */
const LONG_PAUSE_MS = 30_000;

/**
 * Takes the lock for as long as this execution lives; otherwise says why the run must not go on. A run that is under
 * way, and was `carried` over, waits for as long as it takes: it has work to lose.
 */
export function takeRoundLock(lockId: string, carried?: CarriedOver): Promise<ErrorReport | null> {
  const pauses = carried === undefined ? PAUSES_MS : CARRIED_PAUSES_MS;
  // A run that is cancelled holds its lock until its `finally` is done.
  return CancellationScope.nonCancellable(async () => {
    for (let tries = 0; ; tries += 1) {
      try {
        await startChild(ROUND_LOCK_TYPE, {
          workflowId: lockId,
          parentClosePolicy: 'TERMINATE',
          cancellationType: 'ABANDON',
          staticSummary: 'one run at a time for this task and hotkey',
        });
        return null;
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        const pauseMs = pauses[tries];
        if (pauseMs === undefined && carried === undefined) return roundIsRunning(lockId);
        await releaseAfterReset(lockId, carried);
        if (tries === pauses.length)
          log.warn('Another run has the lock of the round; this one waits.');
        await sleep(pauseMs ?? LONG_PAUSE_MS, { summary: 'the lock of the round' });
      }
    }
  });
}

function roundIsRunning(lockId: string): ErrorReport {
  return {
    code: 'ROUND_RUNNING',
    message: `Another run for this task and hotkey is under way; it holds ${lockId}.`,
    hint: 'Wait for it or cancel it (`adit list` shows it); the setting ADIT_ALLOW_PARALLEL_ROUNDS lets both run.',
  };
}
