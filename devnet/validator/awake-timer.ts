/**
 * A timer that counts only while this process runs. A validator that was stopped by a signal, or whose machine slept,
 * goes on where it was: without this, its first act on waking would be to kill a benchmark that has long finished.
 */

const TICK_MS = 100;
/** The most that one tick adds, however long it seems to have taken. */
const MOST_PER_TICK_MS = 1_000;

export interface AwakeTimer {
  /** Aborted when the time is over. */
  readonly over: AbortSignal;
  /** Counts from zero again, as long as the time is not over. */
  readonly restart: () => void;
  /** Must be called in the end: the timer keeps the process alive. */
  readonly stop: () => void;
}

/** Starts a timer over `limitMs`; `over` is aborted with an error of that text. */
export function startAwakeTimer(limitMs: number, text: string): AwakeTimer {
  const over = new AbortController();
  let spentMs = 0;
  let lastMs = performance.now();
  const ticking = setInterval(() => {
    const nowMs = performance.now();
    spentMs += Math.min(nowMs - lastMs, MOST_PER_TICK_MS);
    lastMs = nowMs;
    if (spentMs >= limitMs) {
      clearInterval(ticking);
      over.abort(new Error(text));
    }
  }, TICK_MS);
  return {
    over: over.signal,
    restart: () => {
      spentMs = 0;
      lastMs = performance.now();
    },
    stop: () => clearInterval(ticking),
  };
}
