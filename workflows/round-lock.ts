/**
 * One run at a time for a task and a hotkey: a child workflow whose id names both, and which the server ends with its
 * parent however that ends. Who waits for it can read from it which run holds it.
 *
 * A reset leaves the lock with the execution that was reset: the server ends it no more, and the run that goes on lets
 * it go by itself, to take it anew and when it ends. The lock of an execution that hands its run over is ended too: the
 * next one takes it anew. A run that found the lock taken, and then free, may have come upon that very moment: it holds
 * it for a while on probation, and lets a run that is under way go first.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  CancellationScope,
  condition,
  defineSignal,
  getExternalWorkflowHandle,
  log,
  patched,
  setHandler,
  sleep,
  startChild,
  workflowInfo,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import { errorMessage, type ErrorReport } from '../core/error.js';
import { ROUND_LOCK_TYPE, type CarriedOver } from './contract.js';
import { wasReset } from './was-reset.js';

/** Its argument is the id of the run that lets go; that of another run changes nothing. */
const RELEASE = defineSignal<[string]>('release');

/** A run that is under way wants its lock back; one that is not on probation changes nothing. */
const YIELD = defineSignal('yield');

/** The end of probation. */
const KEEP = defineSignal('keep');

/** Ends with its parent, or when that lets go; on probation also when a run that is under way asks for it. */
export async function roundLock(onProbation = false): Promise<void> {
  let isReleased = false;
  let isKept = !onProbation;
  setHandler(RELEASE, (by) => {
    isReleased ||= by === workflowInfo().parent?.workflowId;
  });
  setHandler(YIELD, () => {
    isReleased ||= !isKept;
  });
  setHandler(KEEP, () => {
    isKept = true;
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

/** Where another run has it nevertheless. */
const LONG_PAUSE_MS = 30_000;

/** Far longer than a run needs to go on with a new history. */
const PROBATION_MS = 3_000;

/**
 * Takes the lock for as long as this execution lives; otherwise says why the run must not go on. A run that is under
 * way, and was `carried` over, waits for as long as it takes: it has work to lose.
 */
export function takeRoundLock(lockId: string, carried?: CarriedOver): Promise<ErrorReport | null> {
  const pauses = carried === undefined ? PAUSES_MS : CARRIED_PAUSES_MS;
  const run = CancellationScope.current();
  // A run that is cancelled holds its lock until its `finally` is done.
  return CancellationScope.nonCancellable(async () => {
    for (let tries = 0; ; tries += 1) {
      // A history from before has no probation.
      const onProbation = tries > 0 && carried === undefined && patched('lock-probation');
      try {
        const lock = await startChild(ROUND_LOCK_TYPE, {
          workflowId: lockId,
          args: onProbation ? [true] : [],
          parentClosePolicy: 'TERMINATE',
          cancellationType: 'ABANDON',
          staticSummary: 'one run at a time for this task and hotkey',
        });
        return !onProbation || (await outlivesProbation(lock)) ? null : roundIsRunning(lockId);
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        const pauseMs = pauses[tries];
        if (pauseMs === undefined && carried === undefined) return roundIsRunning(lockId);
        await releaseAfterReset(lockId, carried);
        if (carried !== undefined) await askFor(lockId);
        if (tries === pauses.length)
          log.warn('Another run has the lock of the round; this one waits.');
        const pause = sleep(pauseMs ?? LONG_PAUSE_MS, { summary: 'the lock of the round' });
        if (pauseMs !== undefined) await pause;
        // One that is cancelled meanwhile has only its `finally` left, which gives back what it holds.
        else if (await Promise.race([pause.then(() => false), isCancelled(run)])) return null;
      }
    }
  });
}

/** True when no run that is under way has asked for the lock in the time of its probation. */
async function outlivesProbation(lock: ChildWorkflowHandle<() => Promise<void>>): Promise<boolean> {
  const over = lock.result().then(
    () => true,
    () => true,
  );
  const summary = 'whether a run that is under way wants the lock of the round';
  if (await Promise.race([over, sleep(PROBATION_MS, { summary }).then(() => false)])) return false;
  try {
    await lock.signal(KEEP);
    return true;
  } catch {
    // It has ended at the last moment.
    return false;
  }
}

function isCancelled(scope: CancellationScope): Promise<boolean> {
  return scope.cancelRequested.then(
    () => true,
    () => true,
  );
}

async function askFor(lockId: string): Promise<void> {
  try {
    await getExternalWorkflowHandle(lockId).signal(YIELD);
  } catch {
    // It has ended meanwhile: the next try takes it.
  }
}

function roundIsRunning(lockId: string): ErrorReport {
  return {
    code: 'ROUND_RUNNING',
    message: `Another run for this task and hotkey is under way; it holds ${lockId}.`,
    hint: 'Wait for it or cancel it (`adit list` shows it); the setting ADIT_ALLOW_PARALLEL_ROUNDS lets both run.',
  };
}
