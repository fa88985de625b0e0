import type { JsonObject } from './json.js';
import type { Network } from './plan.js';

/** What the interpreter sends for one try of one step: the argument of every activity. */
export interface StepCall {
  readonly runId: string;
  /** The first run's id, carried along by retries; effects are keyed by it and the path. */
  readonly roundId: string;
  readonly pipeline: string;
  /** Full path of the step, `candidates#0/trained`. */
  readonly path: string;
  /** Counted by the interpreter from 1; a lost worker is retried by Temporal within the same start. */
  readonly start: number;
  readonly network: Network;
  /** The run was reset: what it does now for the first time it may have done before. */
  readonly reset?: true;
  readonly input: JsonObject;
  /** Limits of the program; only for a step that runs one. */
  readonly program?: ProgramCall;
  /** When the whole run should have ended, in milliseconds since the epoch; absent: no deadline. */
  readonly runDeadlineMs?: number;
}

/** What the Plan says about a step's program. */
export interface ProgramCall {
  /** Run time over all starts, in milliseconds. */
  readonly timeoutMs: number;
  /** Run time of one start, in milliseconds. */
  readonly attemptTimeoutMs?: number;
  readonly gpus?: number;
}
