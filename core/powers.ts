/** What the interpreter is handed: it holds no timer, no clock and no I/O of its own. */
import type { ErrorReport } from './error.js';
import type { Frame } from './frame.js';
import type { JsonObject } from './json.js';
import type { OpenApproval } from './open-approval.js';
import type { Plan, StepOptions } from './plan.js';
import type { RunResult, RunState, StepState } from './run-state.js';
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

/** How long a shielded body may take. */
export interface ShieldLimit {
  /** Milliseconds; zero or less: none is left. */
  readonly ms: number;
  readonly summary: string;
  readonly passed: () => void;
}

/** The plan of a part of a run; the version and the network are those of the run. */
export type CalledPlan = Omit<Plan, 'irVersion' | 'network'>;

/** A part of a run with a plan of its own: the pipeline that the step at `path` calls. */
export interface PartRequest {
  /** The paths of the part's steps begin with it, and a slash. */
  readonly path: string;
  readonly plan: CalledPlan;
  /** What is known of the part's steps: it begins from there. */
  readonly steps: RunState['steps'];
  /** Path of a step of the part, after which it ends as stopped. */
  readonly until?: string;
  readonly summary: string | null;
  /**
   * The part is a block of the run's own plan, the only step of its `plan`, and `path` is the path of that block; this
   * is what its expressions can see. Its outputs are those of the block.
   */
  readonly frame?: Frame;
}

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
   * Runs a part of the run to its end elsewhere, as `interpret` does with the path as its `prefix`. It ends as
   * `cancelled` when it was cancelled and the run was not; with the run it is cancelled, its `finally` is waited for,
   * and this rejects. Absent: parts are run in place, in the state of the run.
   */
  runPart?(request: PartRequest): Promise<RunResult>;
  /** True when what is left of a block of many turns should run as a part; asked between two of them. Absent: never. */
  movesOut?(path: string): boolean;
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
  /**
   * Runs `body` so that a cancellation of the run does not reach it. With a `limit` it is cancelled when that has
   * passed, after `limit.passed` was called; also then it runs to its own end.
   */
  shielded<T>(body: () => Promise<T>, limit?: ShieldLimit): Promise<T>;
  /** Runs `body`; calling `cancel` cancels what it started and nothing else. */
  scoped<T>(body: (cancel: () => void) => Promise<T>): Promise<T>;
  /** Called after each change of the state, with the states of all steps by path: one map for the whole run. */
  changed(steps: ReadonlyMap<string, StepState>): void;
}
