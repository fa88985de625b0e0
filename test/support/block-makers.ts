/** Blocks of one kind each, over steps of one try, for tests of how the interpreter runs them. */
import type { CatchClause, ParallelStep, PlanStep, RepeatStep } from '../../core/plan.js';
import type { RunState } from '../../core/run-state.js';
import { output, stepMaker } from './plan-makers.js';

export const step = stepMaker({
  // A pause of one branch lets the time of all of them pass here.
  timeoutMs: 86_400_000,
  retry: { attempts: 1, firstMs: 1_000, factor: 2, mostMs: 10_000, never: [] },
});

/** The status of each step by its path. */
export const endingsOf = ({ steps }: RunState): object =>
  Object.fromEntries(Object.entries(steps).map(([path, { status }]) => [path, status]));

/** Branches by their ids, each with those that it needs. */
export function parallel(
  needs: { readonly [id: string]: readonly string[] },
  overrides: Partial<ParallelStep> = {},
): ParallelStep {
  const ids = Object.keys(needs);
  return {
    kind: 'parallel',
    key: '[0]',
    limit: 100,
    fail: 'fast',
    branches: Object.entries(needs).map(([id, needed]) => ({
      step: step(id),
      needs: needed.map((one) => ids.indexOf(one)),
    })),
    ...overrides,
  };
}

/** A block `loop` over the step `look`, which is done when it says so. */
export function repeat(overrides: Partial<RepeatStep> = {}): RepeatStep {
  return {
    kind: 'repeat',
    id: 'loop',
    key: 'loop',
    limit: 5,
    until: output('look', 'done'),
    collect: output('look', 'value'),
    steps: [step('look')],
    ...overrides,
  };
}

/** A block `guard` over `a` and `b`. */
export function guard(
  clauses: readonly Partial<CatchClause>[],
  last: readonly PlanStep[] = [],
): PlanStep & { kind: 'try' } {
  return {
    kind: 'try',
    id: 'guard',
    key: 'guard',
    steps: [step('a'), step('b')],
    catch: clauses.map((clause, index) => ({ as: 'error', steps: [step(`c${index}`)], ...clause })),
    finally: last,
  };
}
