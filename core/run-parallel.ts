/** Branches that run side by side: each starts when those that it needs have ended well and there is room. */
import { brokenBy, findBroken, goOnBreakingOff } from './broken.js';
import type { ParallelStep } from './plan.js';
import type { Powers } from './powers.js';
import { StepEnd } from './step-end.js';
import type { StepStates } from './step-states.js';

/** Of those that may start the first in the document does. `runBranch` runs the branch at a place of the list. */
export async function runParallel(
  { branches, limit, fail }: ParallelStep,
  path: string,
  { states, powers }: { readonly states: StepStates; readonly powers: Powers },
  runBranch: (index: number) => Promise<void>,
): Promise<void> {
  const parts = branches.map(({ step }) => `${path}/${step.key}`);
  const before = findBroken(path, parts, fail, states);
  if (before !== null) await goOnBreakingOff(before, path, parts, { states, powers }, runBranch);
  const waiting = new Set(branches.keys());
  const done = new Set<number>();
  const failures = new Map<number, StepEnd>();
  let running = 0;
  let broken: { readonly error: unknown } | null = null;

  const mayStart = (index: number): boolean =>
    branches[index]?.needs.every((needed) => done.has(needed)) === true;

  await powers.scoped(
    (cancel) =>
      new Promise<void>((resolve) => {
        const run = async (index: number): Promise<void> => {
          try {
            await runBranch(index);
            done.add(index);
          } catch (error) {
            // A stop is a decision about the run, not about the branch: it is never waited out.
            if (error instanceof StepEnd && error.ends === 'failed' && fail === 'wait') {
              failures.set(index, error);
            } else if (broken === null) {
              broken = { error };
              states.breakOff(path, brokenBy(error));
              cancel();
            }
          }
          running -= 1;
          startNext();
        };
        const startNext = (): void => {
          for (const index of waiting) {
            if (broken !== null || running >= limit) break;
            if (!mayStart(index)) continue;
            waiting.delete(index);
            running += 1;
            void run(index);
          }
          if (running === 0) resolve();
        };
        startNext();
      }),
  );
  if (broken !== null) throw (broken as { readonly error: unknown }).error;
  const first = [...failures.keys()].sort((a, b) => a - b)[0];
  if (first !== undefined) throw failures.get(first);
}
