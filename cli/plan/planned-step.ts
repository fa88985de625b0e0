/** What `adit plan` tells of a plan: a tree of what would run. */
import type { KnownValue } from './known-value.js';

/**
 * `may_run`: a condition that is not known yet decides, or a failure. `not_reached`: the run ends before.
 */
export type Will = 'runs' | 'may_run' | 'skipped' | 'not_reached' | 'reused';

/** Why a step runs, or does not; a code is public (docs/plan.md). */
export interface Reason {
  readonly code: ReasonCode;
  readonly message: string;
}

type ReasonCode =
  // Of any plan.
  | 'condition'
  | 'on_failure'
  | 'run_ended'
  | 'expression_failed'
  // Of a retry.
  | 'kept'
  | 'never_ran'
  | 'failed'
  | 'stopped'
  | 'cancelled'
  | 'interrupted'
  | 'skipped_before'
  | 'requested'
  | 'input_changed'
  | 'source_changed'
  | 'follows'
  | 'taken_back'
  | 'limit_reached'
  | 'outputs_missing';

/** Where a step runs. */
export type PlannedQueue =
  /** Any worker of the shared task queue. */
  | { readonly kind: 'shared'; readonly name: string }
  /** The host that has the workspace; `name` is its queue, null while it is not known. */
  | { readonly kind: 'workspace'; readonly name: string | null; readonly of: string }
  /** One host for all programs of the run that have no workspace, chosen with the first of them. */
  | { readonly kind: 'run' };

export interface PlannedLimits {
  readonly timeoutMs?: number;
  readonly attemptTimeoutMs?: number;
  readonly heartbeatMs?: number;
  /** Tries in all. */
  readonly attempts?: number;
  /** Of a `finally`. */
  readonly finallyTimeoutMs?: number;
  /** Of an approval: a duration. */
  readonly expires?: KnownValue;
  /** Of a `repeat`: most iterations, and the least time from one to the next. */
  readonly iterations?: number;
  readonly everyMs?: number;
}

export interface PlannedStep {
  /** `#*` stands for items that are told once for all. */
  readonly path: string;
  readonly key: string;
  /** A step type, the kind of a block, or `item` and `iteration`. */
  readonly uses: string;
  readonly summary: KnownValue | null;
  readonly will: Will;
  readonly reason: Reason | null;
  /** The condition that decides, where it is not known yet. */
  readonly condition: string | null;
  /** How often it runs each time that what is around it does; null where only the run tells. */
  readonly times: number | null;
  /** Of those told once for all, how many a retry reuses. */
  readonly reusedItems?: number;
  readonly with: { readonly [name: string]: KnownValue };
  readonly queue: PlannedQueue | null;
  readonly program: boolean;
  readonly effect: boolean;
  readonly gpus: number;
  readonly limits: PlannedLimits;
  /** Of an `approve` step: how many must. */
  readonly quorum?: number;
  /** Of a branch: the paths of the branches that it waits for. */
  readonly needs?: readonly string[];
  /** Of a pause whose length is known. */
  readonly waitMs?: number;
  readonly blocks: readonly PlannedBlock[];
}

export interface PlannedBlock {
  /** `else`, `catch …`, `finally`, the file that is called; empty for the step's own list. */
  readonly title: string;
  readonly order: 'sequence' | 'parallel';
  /** Of a parallel one: most at one time. */
  readonly atOnce: number | null;
  readonly steps: readonly PlannedStep[];
}

/** Every step of the tree, blocks included, in document order. */
export function everyStep(steps: readonly PlannedStep[]): PlannedStep[] {
  return steps.flatMap((step) => [step, ...step.blocks.flatMap((block) => everyStep(block.steps))]);
}

/** True for a step that begins when the run does as foreseen. */
export function isToRun({ will }: Pick<PlannedStep, 'will'>): boolean {
  return will === 'runs' || will === 'may_run';
}
