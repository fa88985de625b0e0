/** What is known of a run of a rehearsal when it is over: plain JSON, from the other side wherever it knows. */
import type { RunStatus, StepStatus } from '../core/run-state.js';

export interface RunFacts {
  /** Null: it had not ended when its time was over. Of a run that was retried this is the last one's. */
  readonly end: RunEnd | null;
  /** Of the last run, in document order. */
  readonly steps: readonly StepFact[];
  /** The audit of all effects of the round. */
  readonly effects: readonly EffectFact[];
  /** What the coordinator has of our hotkey, oldest first. */
  readonly claims: readonly ClaimFact[];
  readonly submissions: readonly SubmissionFact[];
  /** How often each unsigned counting route of the local network was asked to act. */
  readonly counted: { readonly [name: string]: number };
  /** Every start of a program, of all runs of the round. */
  readonly programs: readonly ProgramFact[];
  /** Programs that still lived when the run had ended. */
  readonly left: number;
}

export interface RunEnd {
  readonly status: Exclude<RunStatus, 'running'>;
  /** Of its error; null without one. */
  readonly code: string | null;
}

interface StepFact {
  readonly path: string;
  readonly uses: string;
  readonly status: StepStatus;
}

interface EffectFact {
  readonly stepPath: string;
  /** `claim`, `submission`, `claim cancellation`, `publication`. */
  readonly what: string;
  /** False: it cannot be known what became of it. */
  readonly settled: boolean;
  readonly alarms: readonly string[];
}

interface ClaimFact {
  readonly id: string;
  readonly status: string;
  /** ISO 8601, UTC; null: it never runs out. */
  readonly expiresAt: string | null;
}

interface SubmissionFact {
  readonly id: string;
  /** Null where it names none. */
  readonly claimId: string | null;
  readonly taskId: string;
  /** Key of the effect that made it: the round and the path of its step; null where no audit knows it. */
  readonly effectKey: string | null;
  /** Whether the evidence gate had passed for its task in the round before it. */
  readonly passed: boolean;
}

export interface ProgramFact {
  readonly stepPath: string;
  readonly beganAtMs: number;
  /** Null: it was not seen to end. */
  readonly endedAtMs: number | null;
  /** It ended by itself, with another status than 0: another start is its step's answer to that. */
  readonly failed: boolean;
}
