/**
 * The power `shielded`: what a `finally` does goes on when its run is cancelled, until its own time is over or a person
 * has cancelled that too.
 */
import { CancellationScope, sleep } from '@temporalio/workflow';
import type { Powers, ShieldLimit } from '../core/powers.js';
import { clipSummary } from './clip-summary.js';

export class Shields {
  readonly #run = CancellationScope.current();
  readonly #open = new Set<CancellationScope>();
  readonly #interested = new Set<() => void>();
  #isForced: boolean;

  /** Made in the scope of the whole run. `isForced`: it was said to an earlier execution of the run. */
  constructor(isForced = false) {
    this.#isForced = isForced;
    if (isForced) this.#cancelWithRun();
  }

  get isForced(): boolean {
    return this.#isForced;
  }

  readonly shielded: Powers['shielded'] = (body, limit) =>
    CancellationScope.nonCancellable(
      // A plan from before there were limits asks for none: its history has no timers.
      limit === undefined ? body : () => this.#limited(body, limit),
    );

  /** Cancels, in a run that is cancelled or will be, what is shielded with a limit: now, and for the rest of the run. */
  force(): void {
    if (this.#isForced) return;
    this.#isForced = true;
    this.#cancelWithRun();
    for (const tell of this.#interested) tell();
  }

  /** Calls `body` once it is forced, at once when it was before; the result ends the interest in it. */
  tell(body: () => void): () => void {
    if (this.#isForced) body();
    this.#interested.add(body);
    return () => void this.#interested.delete(body);
  }

  async #limited<T>(body: () => Promise<T>, { ms, summary, passed }: ShieldLimit): Promise<T> {
    const scope = new CancellationScope();
    const timer = new CancellationScope();
    const end = (): void => {
      passed();
      scope.cancel();
    };
    if (this.#isForced && this.#run.consideredCancelled) scope.cancel();
    else if (ms <= 0) end();
    else {
      void timer
        .run(() => sleep(ms, { summary: clipSummary(summary) }))
        .then(end, () => {
          // The body was quicker.
        });
    }
    this.#open.add(scope);
    try {
      return await scope.run(body);
    } finally {
      this.#open.delete(scope);
      timer.cancel();
    }
  }

  /** The request to cancel the run comes with the signal, and may be told after it. */
  #cancelWithRun(): void {
    if (this.#run.consideredCancelled) this.#cancelOpen();
    else this.#run.cancelRequested.catch(() => this.#cancelOpen());
  }

  #cancelOpen(): void {
    for (const scope of this.#open) scope.cancel();
  }
}
