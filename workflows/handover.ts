/**
 * A run whose history has grown long goes on as a new execution of itself, with its RunState: the interpreter can start
 * from any, so that nothing is unwound.
 *
 * Invariants:
 * 1. It happens only while no activity, no child and no update is under way: their results would be lost.
 * 2. A run that was cancelled ends where it is: the execution behind it would not know of the cancellation.
 * 3. Steps are held back only for moments: beside a long training a run goes on, and tries again later. A block of many
 *    turns beside it then goes on as a part of the run.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  patched,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { isInside, turnsAround } from '../core/plan-paths.js';

/** For how long steps that could start wait for those that are under way. */
const HOLD_MS = 10_000;

/** After so much more history the next try is made. */
const AGAIN = { events: 1_000, bytes: 4 * 1024 * 1024 };

export class Handover {
  #underWay = 0;
  readonly #isQuiet: () => boolean;
  /** Since when a step of this path, or a part of the run, is under way; milliseconds since the epoch. */
  readonly #since = new Map<string, number>();
  /** When the last try began, which came to nothing. */
  #triedAtMs: number | null = null;
  #isHolding = false;
  #isCancelled = false;
  /** How long the history is at least when the next try is made, the one or the other. */
  #from = { events: 0, bytes: 0 };

  /** Made in the scope of the run. */
  constructor(isQuiet: () => boolean) {
    this.#isQuiet = isQuiet;
    CancellationScope.current().cancelRequested.catch(() => this.stay());
  }

  /** The run ends where it is. */
  stay(): void {
    this.#isCancelled = true;
    this.#isHolding = false;
  }

  /** Resolves when the run is to go on as a new execution. */
  due(): Promise<void> {
    return CancellationScope.nonCancellable(() =>
      condition(
        () => this.#isHolding && this.#underWay === 0 && allHandlersFinished() && this.#isQuiet(),
      ),
    );
  }

  /** Runs `body`, whose result must not be lost; before, it waits while the run may be handed over. */
  async during<T>(path: string, body: () => Promise<T>): Promise<T> {
    const hold = this.hold();
    if (hold !== null) await hold;
    const end = this.begin(path);
    try {
      return await body();
    } finally {
      end();
    }
  }

  /** Null where a step may begin; else what waits while the run may be handed over. */
  hold(): Promise<void> | null {
    return this.#isWanted() ? this.#hold() : null;
  }

  /** Something whose result must not be lost is under way until what this returns is called. */
  begin(path: string): () => void {
    this.#underWay += 1;
    this.#since.set(path, Date.now());
    return () => {
      this.#underWay -= 1;
      this.#since.delete(path);
    };
  }

  /**
   * True when the rest of a block of many turns should go on with a history of its own: this one is long and cannot
   * begin anew beside a step that takes its time, which is not in the block. Of blocks in blocks the outermost goes.
   */
  movesOut(path: string): boolean {
    const { continueAsNewSuggested } = workflowInfo();
    if (this.#triedAtMs === null || !continueAsNewSuggested || this.#isCancelled) return false;
    const isInTheWay = (block: string): boolean =>
      this.#longOnes().some((one) => isInside(one, block));
    const around = turnsAround(path);
    return (
      this.#longOnes().length > 0 &&
      !isInTheWay(path) &&
      around.every(({ block }) => isInTheWay(block))
    );
  }

  /** What was under way before the last try, and is still. */
  #longOnes(): string[] {
    const triedAtMs = this.#triedAtMs ?? 0;
    return [...this.#since].flatMap(([path, sinceMs]) => (sinceMs <= triedAtMs ? [path] : []));
  }

  /** As `during`, for what takes no longer than the server's answer, and need not wait. */
  async keep<T>(body: () => Promise<T>): Promise<T> {
    this.#underWay += 1;
    try {
      return await body();
    } finally {
      this.#underWay -= 1;
    }
  }

  #isWanted(): boolean {
    const { continueAsNewSuggested, historyLength, historySize } = workflowInfo();
    if (!continueAsNewSuggested || this.#isCancelled) return false;
    if (this.#isHolding) return true;
    if (historyLength < this.#from.events && historySize < this.#from.bytes) return false;
    // A history from before goes on in one execution.
    return patched('handover');
  }

  async #hold(): Promise<void> {
    if (!this.#isHolding) {
      this.#isHolding = true;
      const beganMs = Date.now();
      const pause = CancellationScope.nonCancellable(() =>
        sleep(HOLD_MS, { summary: 'until the run can go on with a new history' }),
      );
      void pause.then(() => {
        this.#isHolding = false;
        this.#triedAtMs = beganMs;
        const { historyLength, historySize } = workflowInfo();
        this.#from = { events: historyLength + AGAIN.events, bytes: historySize + AGAIN.bytes };
      });
    }
    await condition(() => !this.#isHolding);
  }
}
