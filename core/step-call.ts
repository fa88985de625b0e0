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
  readonly input: JsonObject;
}
