import type { CancellationScope } from '@temporalio/workflow';

/** A promise that resolves to null when waiting is given up; `stop` ends the interest in it. */
export interface GivenUp {
  readonly promise: Promise<null>;
  readonly stop: () => void;
}

/** Whether a person has given up waiting for hosts that are silent. Once said, it holds for the rest of the run. */
export class Abandonment {
  #isGiven: boolean;
  readonly #interested = new Set<() => void>();
  /** What is to be told when a scope is cancelled. */
  readonly #inScopes = new WeakMap<CancellationScope, Set<() => void>>();

  /** `isGiven`: it was said to an earlier execution of the run. */
  constructor(isGiven = false) {
    this.#isGiven = isGiven;
  }

  get isGiven(): boolean {
    return this.#isGiven;
  }

  give(): void {
    this.#isGiven = true;
    for (const tell of this.#interested) tell();
  }

  /** Calls `body` once waiting is given up, at once when it was before; the result ends the interest in it. */
  tell(body: () => void): () => void {
    if (this.#isGiven) body();
    this.#interested.add(body);
    return () => void this.#interested.delete(body);
  }

  forAnything(): GivenUp {
    let tell: () => void = () => undefined;
    const promise = new Promise<null>((resolve) => {
      tell = () => resolve(null);
    });
    return { promise, stop: this.tell(tell) };
  }

  /** As `tell`, for what is in a scope: `body` is called once that is cancelled too. */
  tellCancelled(scope: CancellationScope, body: () => void): () => void {
    const stop = this.tell(() => {
      if (scope.consideredCancelled) body();
    });
    const interested = this.#interestedIn(scope);
    interested.add(body);
    return () => {
      stop();
      interested.delete(body);
    };
  }

  /** One look-out for each scope: one for each step would stay with the scope of the run until its end. */
  #interestedIn(scope: CancellationScope): Set<() => void> {
    const known = this.#inScopes.get(scope);
    if (known !== undefined) return known;
    const interested = new Set<() => void>();
    this.#inScopes.set(scope, interested);
    scope.cancelRequested.catch(() => {
      // A scope that cannot be cancelled is told of the cancellation around it: what a `finally` does goes on.
      if (this.#isGiven && scope.consideredCancelled) for (const tell of interested) tell();
    });
    return interested;
  }
}
