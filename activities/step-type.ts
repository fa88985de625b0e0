import type { z } from 'zod';
import type { StepSignature } from '../compiler/step-signature.js';
import type { Json } from '../core/json.js';
import type { StepCall } from '../core/step-call.js';
import type { Adapters } from './adapters.js';

/** What a step type may use: its place in the run, the adapters, and a way to report and to be cancelled. */
export interface StepContext {
  readonly call: Omit<StepCall, 'input'>;
  /** True when this is the first time that any worker runs this start of this step. */
  readonly firstAttempt: boolean;
  /** Temporal's attempt number within this start, from 1: it grows with each "not yet" and each lost worker. */
  readonly attempt: number;
  /**
   * When the server scheduled this attempt, in milliseconds since the epoch. It only grows, also
   * across a reset, which numbers attempts from 1 again: so it is what fences a stale worker.
   */
  readonly scheduledAtMs: number;
  /**
   * End of the step's time, in milliseconds since the epoch; null when it has none. A step that runs a program has
   * none: its time is the program's run time, which the host keeps (`call.program`).
   */
  readonly deadlineMs: number | null;
  /**
   * Aborted when the step is cancelled or paused, or its worker shuts down or was taken over; adapters rethrow
   * `signal.reason`. What becomes of a program is no business of the step: the boundary ends it where it must end.
   */
  readonly signal: AbortSignal;
  /** A short status for people: shown in the terminal and the Temporal UI. Small and plain JSON. */
  readonly progress: (status: { readonly [key: string]: Json }) => void;
  readonly adapters: Adapters;
}

/** A step type: what an author sees, and what it does. */
export interface StepType<
  Input extends z.ZodObject = z.ZodObject,
  Output extends z.ZodObject = z.ZodObject,
> extends StepSignature<Input, Output> {
  run(input: z.output<Input>, context: StepContext): Promise<z.input<Output>>;
}

/** Returns its argument, typed. */
export function defineStep<Input extends z.ZodObject, Output extends z.ZodObject>(
  step: StepType<Input, Output>,
): StepType<Input, Output> {
  return step;
}
