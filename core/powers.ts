/** What the interpreter is handed: it holds no timer, no clock and no I/O of its own. */
import type { ErrorReport } from './error.js';
import type { JsonObject } from './json.js';
import type { StepOptions } from './plan.js';
import type { StepState } from './run-state.js';

/** One try of one step, as the interpreter asks for it. */
export interface StepRequest {
  readonly path: string;
  readonly uses: string;
  /** Counted from 1. */
  readonly start: number;
  readonly input: JsonObject;
  readonly options: StepOptions;
  /** What is left of the step's time, in milliseconds. */
  readonly remainingMs: number;
  /** Task queue of the host that must run it; null for the shared queue. */
  readonly queue: string | null;
  readonly summary: string | null;
}

export type StepOutcome =
  | { readonly kind: 'succeeded'; readonly outputs: JsonObject }
  | {
      readonly kind: 'failed';
      readonly error: ErrorReport;
      readonly retryable: boolean;
      readonly retryAfterMs?: number;
    };

/** What the interpreter cannot do by itself. Every promise may reject with a cancellation. */
export interface Powers {
  runStep(request: StepRequest): Promise<StepOutcome>;
  sleep(ms: number, summary: string): Promise<void>;
  /** Milliseconds since the epoch. */
  now(): number;
  /** From 0 to 1, for jitter. */
  random(): number;
  isCancellation(error: unknown): boolean;
  /** Runs `body` so that a cancellation of the run does not reach it. */
  shielded<T>(body: () => Promise<T>): Promise<T>;
  /** Runs `body`; calling `cancel` cancels what it started and nothing else. */
  scoped<T>(body: (cancel: () => void) => Promise<T>): Promise<T>;
  /** Called after each change of the state, with the states of all steps by path: one map for the whole run. */
  changed(steps: ReadonlyMap<string, StepState>): void;
}
