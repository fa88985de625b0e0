/** The deadline of a whole run: when it passes, what is under way is cancelled, and every `finally` runs. */
import { CancellationScope, isCancellation, sleep } from '@temporalio/workflow';
import { deadlinePassed, toMoment } from '../core/run-deadline.js';
import type { RunResult } from '../core/run-state.js';

/** A server takes no timer without an end, and nobody waits so long. */
const LONGEST_MS = 10 * 365 * 24 * 60 * 60 * 1_000;

/**
 * The result of `body`, or, when the deadline has cancelled it, of a run that failed with RUN_DEADLINE. A body that
 * ends in its own way after the deadline keeps its result: what failed first, or what was done already, counts.
 * `passed` is called when the deadline begins to cancel.
 */
export async function endAtDeadline(
  atMs: number,
  body: () => Promise<RunResult>,
  passed: () => void,
): Promise<RunResult> {
  const scope = new CancellationScope();
  const timer = new CancellationScope();
  let isOver = false;
  const pass = (): void => {
    // A run that was cancelled before is cancelled, and not late.
    if (scope.consideredCancelled) return;
    isOver = true;
    passed();
    scope.cancel();
  };
  const leftMs = atMs - Date.now();
  if (leftMs <= 0) pass();
  else {
    void timer
      .run(() =>
        sleep(Math.min(leftMs, LONGEST_MS), {
          summary: `the run ends at ${toMoment(atMs)} at the latest`,
        }),
      )
      .then(pass, () => {
        // The run was quicker.
      });
  }
  try {
    return await scope.run(body);
  } catch (error) {
    if (!isOver || !isCancellation(error)) throw error;
    return { status: 'failed', outputs: {}, error: deadlinePassed(atMs) };
  } finally {
    timer.cancel();
  }
}
