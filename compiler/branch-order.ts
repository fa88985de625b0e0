/** Which branches of a `parallel` run beside others, and which begin at once. */
import { innerBlocks } from '../core/inner-blocks.js';
import type { ParallelStep, PlanStep } from '../core/plan.js';

/** To tell the order of more is not worth the time. */
const MOST_IN_TURN = 100;

export class BranchOrder {
  /** There is nothing beside its one branch. */
  readonly isAlone: boolean;
  readonly #branches: ParallelStep['branches'];
  readonly #limit: number;
  readonly #needed = new Map<number, ReadonlySet<number>>();

  constructor({ branches, limit }: ParallelStep) {
    this.#branches = branches;
    this.#limit = limit;
    this.isAlone = branches.length === 1;
  }

  /** There is room for one at a time, so that the order is known. */
  get isInTurn(): boolean {
    return this.#limit === 1 && this.#branches.length <= MOST_IN_TURN;
  }

  /** A branch can stop the run of itself, without anything that takes time. */
  get mayStop(): boolean {
    return this.#branches.some(({ step }) => hasStop([step]));
  }

  /**
   * It begins in the moment in which the block does or, where it needs branches, in which the one of `needed` ends: it
   * waits neither for others nor for room.
   */
  isPrompt(at: number, needed: readonly number[]): boolean {
    const own = this.#branches[at]?.needs ?? [];
    if (own.length === 0) return at < this.#limit;
    const [last, ...others] = needed;
    if (last === undefined || others.length > 0) return false;
    const before = this.#neededBy(last);
    if (!own.every((one) => one === last || before.has(one))) return false;
    // The room of the one that ends is for the first that waits: those that began with the block do not.
    return (
      this.#limit >= this.#branches.length ||
      this.#branches
        .slice(0, at)
        .every(
          ({ needs }, other) =>
            other === last || before.has(other) || (needs.length === 0 && other < this.#limit),
        )
    );
  }

  /** When it has ended, all others have. */
  endsLast(at: number): boolean {
    const before = this.#neededBy(at);
    return this.#branches.every((_branch, other) => other === at || before.has(other));
  }

  /** The branches as they come where there is room for one: each time the first that may begin. */
  inTurn(): PlanStep[] {
    const done = new Set<number>();
    const waiting = new Set(this.#branches.keys());
    const steps: PlanStep[] = [];
    for (;;) {
      const next = [...waiting].find((at) =>
        this.#branches[at]?.needs.every((needed) => done.has(needed)),
      );
      const branch = this.#branches[next ?? -1];
      if (next === undefined || branch === undefined) return steps;
      waiting.delete(next);
      done.add(next);
      steps.push(branch.step);
    }
  }

  /** All that it needs, by others too. */
  #neededBy(at: number): ReadonlySet<number> {
    const known = this.#needed.get(at);
    if (known !== undefined) return known;
    const needed = new Set(this.#branches[at]?.needs);
    for (const one of needed) for (const next of this.#branches[one]?.needs ?? []) needed.add(next);
    this.#needed.set(at, needed);
    return needed;
  }
}

function hasStop(steps: readonly PlanStep[]): boolean {
  return steps.some(
    (step) => step.kind === 'stop' || innerBlocks(step).some((block) => hasStop(block.steps)),
  );
}
