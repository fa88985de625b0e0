/**
 * Time that passes only when nothing else can happen, and what can be cancelled in it.
 *
 * Invariants:
 * 1. Of two moments the earlier comes first; of two at the same time the one that was asked for first.
 * 2. A scope that is cancelled ends, at once and in the order in which they began, the waits in it and in the scopes
 *    inside; a shielded scope is inside of none.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { ShieldLimit } from '../core/powers.js';

export class Cancelled extends Error {}

interface Moment {
  readonly atMs: number;
  readonly fire: () => void;
}

class Scope {
  isCancelled: boolean;
  readonly waits = new Set<() => void>();
  readonly inner = new Set<Scope>();

  constructor(isCancelled: boolean) {
    this.isCancelled = isCancelled;
  }

  cancel(): void {
    if (this.isCancelled) return;
    this.isCancelled = true;
    for (const abort of this.waits) abort();
    for (const scope of this.inner) scope.cancel();
  }
}

/** One for all: Node carries each that there ever was through every promise. */
const current = new AsyncLocalStorage<Scope>();

export class VirtualTime {
  nowMs: number;
  readonly #moments: Moment[] = [];
  readonly #run = new Scope(false);

  constructor(startsAtMs: number) {
    this.nowMs = startsAtMs;
  }

  /** Calls `fire` when so much time has passed; returns what takes that back. */
  after(ms: number, fire: () => void): () => void {
    const moment = { atMs: this.nowMs + ms, fire };
    let at = this.#moments.length;
    while (at > 0 && (this.#moments[at - 1]?.atMs ?? 0) > moment.atMs) at -= 1;
    this.#moments.splice(at, 0, moment);
    return () => {
      const index = this.#moments.indexOf(moment);
      if (index !== -1) this.#moments.splice(index, 1);
    };
  }

  /** Waits for what `begin` calls back; it returns what takes it back. Rejects with Cancelled when the scope is. */
  wait<T>(begin: (resolve: (value: T) => void) => () => void): Promise<T> {
    const scope = current.getStore() ?? this.#run;
    if (scope.isCancelled) return Promise.reject(new Cancelled());
    return new Promise<T>((resolve, reject) => {
      const takeBack = begin((value) => {
        scope.waits.delete(abort);
        resolve(value);
      });
      const abort = (): void => {
        scope.waits.delete(abort);
        takeBack();
        reject(new Cancelled());
      };
      scope.waits.add(abort);
    });
  }

  sleep(ms: number): Promise<void> {
    return this.wait((resolve) => this.after(ms, resolve));
  }

  /** Throws where this code was cancelled. */
  interrupt(): void {
    if ((current.getStore() ?? this.#run).isCancelled) throw new Cancelled();
  }

  /** True once the run was cancelled. */
  get isCancelled(): boolean {
    return this.#run.isCancelled;
  }

  cancelRun(): void {
    this.#run.cancel();
  }

  shielded<T>(body: () => Promise<T>, limit?: ShieldLimit): Promise<T> {
    if (limit === undefined) return current.run(new Scope(false), body);
    return current.run(new Scope(false), () =>
      this.scoped(async (cancel) => {
        const takeBack = this.after(Math.max(0, limit.ms), () => {
          limit.passed();
          cancel();
        });
        try {
          return await body();
        } finally {
          takeBack();
        }
      }),
    );
  }

  async scoped<T>(body: (cancel: () => void) => Promise<T>): Promise<T> {
    const around = current.getStore() ?? this.#run;
    const scope = new Scope(around.isCancelled);
    around.inner.add(scope);
    try {
      return await current.run(scope, () => body(() => scope.cancel()));
    } finally {
      around.inner.delete(scope);
    }
  }

  /** Lets time pass until `work` has ended; false when it never will, since it waits for no moment. */
  async pass(work: Promise<unknown>): Promise<boolean> {
    let hasEnded = false;
    const end = (): void => {
      hasEnded = true;
    };
    work.then(end, end);
    for (;;) {
      // All that follows from the last moment, without further time, has happened when this turn of the loop comes.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      if (hasEnded) return true;
      const next = this.#moments.shift();
      if (next === undefined) return false;
      this.nowMs = next.atMs;
      next.fire();
    }
  }
}
