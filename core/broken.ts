/**
 * A block of many parts that is broken off: by the failure or stop of one, or with all that is around it. What has
 * not ended is cancelled, and its `finally` runs; the state says so, for a run that goes on from it.
 */
import type { Powers } from './powers.js';
import type { StepState } from './run-state.js';
import { StepEnd } from './step-end.js';
import type { StepStates } from './step-states.js';

/** What the state of a block says of the error that breaks it off. */
export function brokenBy(error: unknown): NonNullable<StepState['broken']> {
  return error instanceof StepEnd
    ? { ends: error.ends, error: error.report }
    : { ends: 'cancelled' };
}

/**
 * What broke off a block in an earlier part of the run: as its state says, or, where that part ended at that very
 * moment, the first stop of one of its `parts`, under `fast` the first failure. Null when nothing did.
 */
export function findBroken(
  path: string,
  parts: readonly string[],
  fail: 'fast' | 'wait',
  states: StepStates,
): NonNullable<StepState['broken']> | null {
  const noted = states.get(path)?.broken;
  if (noted !== undefined) return noted;
  const causes = parts
    .flatMap((part) => states.get(part) ?? [])
    .filter(({ status }) => status === 'stopped' || (status === 'failed' && fail === 'fast'));
  causes.sort((a, b) => (a.endedAt ?? '').localeCompare(b.endedAt ?? ''));
  const [first] = causes;
  if (first === undefined) return null;
  const ends = first.status === 'stopped' ? 'stopped' : 'failed';
  return first.error === undefined ? { ends } : { ends, error: first.error };
}

/** Ends those parts that had not ended, and throws what broke off the block in an earlier part of the run. */
export async function goOnBreakingOff(
  { ends, error }: NonNullable<StepState['broken']>,
  path: string,
  parts: readonly string[],
  { states, powers }: { readonly states: StepStates; readonly powers: Powers },
  run: (index: number) => Promise<unknown>,
): Promise<void> {
  const ended = (reason: unknown): void => {
    if (!(reason instanceof StepEnd) && !powers.isCancellation(reason)) throw reason;
  };
  const underWay = parts.flatMap((part, index) =>
    ['running', 'parked'].includes(states.get(part)?.status ?? '') ? [index] : [],
  );
  await powers.scoped(async (cancel) => {
    cancel();
    await Promise.all(underWay.map((index) => run(index).then(() => undefined, ended)));
    // Nothing sleeps where all is cancelled: this throws the cancellation.
    if (ends === 'cancelled') await powers.sleep(0, path);
  });
  throw new StepEnd(
    error ?? { code: 'INTERNAL', message: `${path} was broken off.` },
    ends === 'stopped' ? 'stopped' : 'failed',
  );
}
