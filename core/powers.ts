/** What the interpreter is handed: it holds no timer, no clock and no I/O of its own. */
import type { ErrorReport } from './error.js';
import type { JsonObject } from './json.js';
import type { OpenApproval } from './open-approval.js';
import type { StepOptions } from './plan.js';
import type { StepState } from './run-state.js';
import type { ProgramCall } from './step-call.js';

/** One start of one step, as the interpreter asks for it. */
export interface StepRequest {
  readonly path: string;
  readonly uses: string;
  /** Counted from 1; it only grows, whatever ended the start before. */
  readonly start: number;
  readonly input: JsonObject;
  readonly options: StepOptions;
  /** What is left of the step's time, in milliseconds; null for a step that runs a program: its host keeps the time. */
  readonly remainingMs: number | null;
  /** Limits of the program; only for a step that runs one. */
  readonly program?: ProgramCall;
  /** Task queue of the host that must run it; null when the input names none. */
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
      /** Until when a person may be asked, in milliseconds since the epoch; absent: without end. */
      readonly askUntilMs?: number;
    };

/** What a person said about a parked step. */
export type StepDecision =
  | { readonly action: 'retry' }
  | { readonly action: 'value'; readonly outputs: JsonObject }
  | { readonly action: 'fail' };

/** What the interpreter cannot do by itself. Every promise may reject with a cancellation. */
export interface Powers {
  /** `note` shows for people what the step waits for; null takes it away. */
  runStep(request: StepRequest, note: (text: string | null) => void): Promise<StepOutcome>;
  /**
   * Waits until somebody has decided for a parked step; null when `untilMs`, in milliseconds since the epoch, came
   * first.
   */
  decide(path: string, error: ErrorReport, untilMs: number | null): Promise<StepDecision | null>;
  /**
   * Waits until an approval is over, or its time is. Meanwhile answers come to its `take`, each after `problemOf` had
   * nothing against it.
   */
  approve(approval: OpenApproval): Promise<void>;
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
