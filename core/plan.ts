import type { AnswerField } from './answer-fields.js';
import type { Expr, Template } from './expression.js';
import type { Json } from './json.js';
import type { NoticeEvent } from './notice.js';
import type { ValueKind } from './value-kind.js';

/** The only interpreter there is; a Plan of another version is refused by name. */
export const IR_VERSION = 1;

/** Largest Plan, as JSON text, in bytes. */
export const MAX_PLAN_BYTES = 512 * 1024;

/**
 * A checked pipeline with its inputs bound: plain JSON, the argument of a run, kept for life.
 * Editing the file changes the next run only.
 */
export interface Plan {
  readonly irVersion: typeof IR_VERSION;
  /** Name of the pipeline. */
  readonly pipeline: string;
  readonly summary?: string;
  /** SHA-256 of the pipeline file's bytes, lower-case hex. */
  readonly sourceSha256: string;
  /** The network and identity that the run was started for; a worker set otherwise refuses. */
  readonly network: Network;
  readonly inputs: { readonly [name: string]: Json };
  readonly steps: readonly PlanStep[];
  readonly outputs: ReadonlyArray<readonly [string, Template]>;
  /** Longest time for a whole run, in milliseconds: whoever starts one makes a moment of it. */
  readonly deadlineMs?: number;
  /** Events that hooks are told; absent: as the settings of whoever starts a run say. */
  readonly notify?: readonly NoticeEvent[];
}

/** Where a run's effects go, and as whom: the coordinator's base URL and the hotkey's SS58 address. */
export interface Network {
  readonly coordinator: string;
  readonly hotkey: string;
}

export type PlanStep =
  | ActivityStep
  | ForeachStep
  | RepeatStep
  | ParallelStep
  | TryStep
  | IfStep
  | ApproveStep
  | WaitStep
  | StopStep
  | PipelineStep;

interface StepBase {
  /** The step's `id`; absent when nothing refers to it. */
  readonly id?: string;
  /** The step's own segment of its path: its id, or `[n]`, counted from 0 in its block. */
  readonly key: string;
  /** The step runs only when this is true; otherwise it is skipped, and has no outputs. */
  readonly if?: Expr;
}

/** `uses`: one step type, one Temporal activity. */
export interface ActivityStep extends StepBase {
  readonly kind: 'step';
  /** Name of the step type, which is the activity type. */
  readonly uses: string;
  readonly with: ReadonlyArray<readonly [string, Template]>;
  /** Inputs that may be absent: one that evaluates to null is left out. */
  readonly optional: readonly string[];
  readonly options: StepOptions;
  /**
   * Where the input names the host that must run the step: paths to `Workspace` values in the input,
   * in order of preference; the first that is there gives the task queue.
   */
  readonly host: ReadonlyArray<readonly string[]>;
  /**
   * The step runs a program on a host: its `timeout` is run time over all starts, kept by that host, and however it
   * ends the host confirms that nothing is left of the program.
   */
  readonly program?: true;
  /** The step changes something outside that cannot be taken back: a new run looks it up before it does it again. */
  readonly effect?: true;
  readonly summary?: Template;
}

export interface StepOptions {
  /**
   * Time for the whole step, in milliseconds: since its first attempt was scheduled, or, of a step that runs a program, run
   * time of the program. Waiting for a person or a device does not count.
   */
  readonly timeoutMs: number;
  /** Time for one attempt, in milliseconds. */
  readonly attemptTimeoutMs?: number;
  /** Longest silence of a worker before it counts as lost, in milliseconds. */
  readonly heartbeatMs?: number;
  readonly retry: RetryOptions;
  /** `ask` parks the step for a person when it would fail, whatever the code. */
  readonly onFailure?: 'ask';
  /** `on: { gpus }`: devices that the step's program leases. */
  readonly gpus?: number;
}

export interface RetryOptions {
  /** Tries in all that may end in a step error; lost workers do not count. At least 1. */
  readonly attempts: number;
  readonly firstMs: number;
  readonly factor: number;
  readonly mostMs: number;
  /** Codes that are final although they are retryable. */
  readonly never: readonly string[];
}

/** Bounded fan-out over a list; its outputs are `failures` and, with `collect`, `results` in list order. */
export interface ForeachStep extends StepBase {
  readonly kind: 'foreach';
  readonly items: Expr;
  /** Name of the item in expressions inside. */
  readonly as: string;
  /** Most iterations at one time. */
  readonly limit: number;
  /** `fast`: the first failure ends the rest. `wait`: it succeeds if one item did. */
  readonly fail: 'fast' | 'wait';
  /** What an iteration adds to `results`. */
  readonly collect?: Expr;
  readonly steps: readonly PlanStep[];
}

/** The block again and again; its outputs are `iterations` and, with `collect`, `last` and `results`. */
export interface RepeatStep extends StepBase {
  readonly kind: 'repeat';
  /** Most iterations; the block fails when `until` is not true after the last of them. */
  readonly limit: number;
  /** Least time from the beginning of one iteration to that of the next, in milliseconds. */
  readonly everyMs?: number;
  /** Asked after each iteration; absent: there are `limit` of them. */
  readonly until?: Expr;
  /** Name of the number of the iteration, from 0, in expressions inside. */
  readonly as?: string;
  /** What an iteration adds to `results`. */
  readonly collect?: Expr;
  readonly steps: readonly PlanStep[];
}

/** All branches at once, but for what they need of each other. It has no outputs; those of its steps are read. */
export interface ParallelStep extends StepBase {
  readonly kind: 'parallel';
  /** Most branches at one time. */
  readonly limit: number;
  /** `fast`: the first failure ends the rest. `wait`: what can still run runs, and then the block fails. */
  readonly fail: 'fast' | 'wait';
  readonly branches: readonly Branch[];
}

interface Branch {
  readonly step: PlanStep;
  /** Places of the branches that must have ended well before it starts. */
  readonly needs: readonly number[];
}

/** `finally` runs after `steps` and `catch` whatever happened, also on cancellation. */
export interface TryStep extends StepBase {
  readonly kind: 'try';
  readonly steps: readonly PlanStep[];
  /** The first clause that takes the code of a failure runs in its place. Absent: none. */
  readonly catch?: readonly CatchClause[];
  readonly finally: readonly PlanStep[];
  /** Longest time for `finally`, waiting for people included, in milliseconds. Absent in plans from before: none. */
  readonly finallyTimeoutMs?: number;
}

export interface CatchClause {
  /** Codes that it takes; absent: all that a failure can have. A stop and a cancellation are no failures. */
  readonly errors?: readonly string[];
  /** Name of the error in expressions inside. */
  readonly as: string;
  readonly steps: readonly PlanStep[];
}

/** The block form of a condition. */
export interface IfStep extends StepBase {
  readonly kind: 'if';
  readonly test: Expr;
  readonly then: readonly PlanStep[];
  readonly else: readonly PlanStep[];
}

/** Waits for people; its outputs are the fields of their answer, `approvals` and `digest`. */
export interface ApproveStep extends StepBase {
  readonly kind: 'approve';
  /** What they are shown, by name; a FileRef stands for its file. */
  readonly show: ReadonlyArray<readonly [string, Template]>;
  /** What they answer besides yes or no. */
  readonly fields: readonly AnswerField[];
  /** A duration from its beginning; absent: without end. */
  readonly expires?: Template;
  /** How many different people must approve. At least 1. */
  readonly quorum: number;
  /** What they are asked. */
  readonly summary?: Template;
}

/** A durable timer: `for` a duration, or `until` a timestamp. */
export interface WaitStep extends StepBase {
  readonly kind: 'wait';
  readonly for?: Template;
  readonly until?: Template;
}

/** Ends the run as stopped: a decision, not a failure. */
export interface StopStep extends StepBase {
  readonly kind: 'stop';
  readonly reason: Template;
}

/** `pipeline`: the steps of another file, in a workflow of their own; its outputs are the outputs of that file. */
export interface PipelineStep extends StepBase {
  readonly kind: 'pipeline';
  readonly with: ReadonlyArray<readonly [string, Template]>;
  /** What a value must be whose type only the run knows, by the name of the input. */
  readonly checks?: { readonly [input: string]: ValueKind };
  readonly called: CalledPipeline;
  readonly summary?: Template;
}

/** A checked pipeline as part of the Plan of the one that calls it; its inputs are bound when it is called. */
export interface CalledPipeline {
  /** Name of the pipeline. */
  readonly pipeline: string;
  readonly summary?: string;
  /** The file as the caller names it. */
  readonly file: string;
  /** SHA-256 of the file's bytes, lower-case hex. */
  readonly sourceSha256: string;
  readonly inputs: readonly CalledInput[];
  readonly steps: readonly PlanStep[];
  readonly outputs: Plan['outputs'];
}

interface CalledInput {
  readonly name: string;
  /** What it is when it is not given, or null. Without one it is then left out. */
  readonly default?: Json;
}
