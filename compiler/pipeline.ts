import type { RetryOptions } from '../core/plan.js';
import type { Range } from './diagnostic.js';
import type { RunTerms } from './parse-run-terms.js';
import type { Type } from './types.js';
import type { Entry, ScalarNode, SourceNode } from './yaml.js';

/** A pipeline file as its author wrote it: every part with its place, names and types not yet checked. */
export interface Pipeline {
  readonly name: Located<string>;
  readonly summary?: string;
  /** Place of the `inputs` key, of the whole document where there is none. */
  readonly inputsRange: Range;
  readonly inputs: readonly InputDeclaration[];
  /** The declarations could not be read, which is told: any `inputs.x` may be right. */
  readonly inputsBroken: boolean;
  /** Options for every step that does not say otherwise. */
  readonly defaults: Defaults;
  readonly terms: RunTerms;
  readonly steps: readonly Step[];
  readonly outputs: readonly Entry[];
}

export interface Located<T> {
  readonly value: T;
  readonly range: Range;
}

export interface InputDeclaration {
  readonly name: string;
  readonly nameRange: Range;
  readonly type: Type;
  readonly summary: string;
  /** Not given and no default: the run cannot start. */
  readonly required: boolean;
  readonly default?: SourceNode;
}

interface StepBase {
  /** An id of a wrong form, which is told. */
  readonly brokenId?: string;
  readonly id?: Located<string>;
  /** The step's segment of its path: its id, or `[n]`, counted from 0 in its list. */
  readonly key: string;
  /** Where the step is named in a message: its id, its `uses`, or its first key. */
  readonly range: Range;
  /** Bare CEL. */
  readonly if?: ScalarNode;
}

export type Step =
  | UsesStep
  | ForeachStep
  | RepeatStep
  | ParallelStep
  | TryStep
  | IfStep
  | ApproveStep
  | WaitStep
  | StopStep
  | CallStep
  | BrokenStep;

export interface UsesStep extends StepBase {
  readonly kind: 'step';
  readonly uses: Located<string>;
  /** Place of the `with` key, of `uses` where there is none. */
  readonly withRange: Range;
  /** Keys of the step that it does not have, which are told; an input among them is not missing as well. */
  readonly stray: readonly string[];
  /** Null when it is misspelt or no map, which is told. */
  readonly with: readonly Entry[] | null;
  /** An entry of it is left out, which is told: it may be any input. */
  readonly withBroken?: true;
  readonly options: WrittenOptions;
  readonly summary?: SourceNode;
}

/** Options that the author wrote; the rest comes from the step type. */
export interface WrittenOptions {
  readonly timeoutMs?: number;
  readonly attemptTimeoutMs?: number;
  readonly heartbeatMs?: number;
  /** `on: { gpus }`, with the place of the key. */
  readonly gpus?: Located<number>;
  readonly onFailure?: 'ask' | 'fail';
  readonly retry: Partial<RetryOptions>;
}

/** Options for every step, and for every `try`. */
export interface Defaults extends WrittenOptions {
  readonly finallyTimeoutMs?: number;
}

interface ForeachStep extends StepBase {
  readonly kind: 'foreach';
  readonly items: ScalarNode;
  readonly as: Located<string>;
  readonly limit: number;
  readonly fail: 'fast' | 'wait';
  readonly collect?: ScalarNode;
  readonly steps: readonly Step[];
}

interface RepeatStep extends StepBase {
  readonly kind: 'repeat';
  readonly limit: number;
  readonly everyMs?: number;
  readonly until?: ScalarNode;
  readonly as?: Located<string>;
  readonly collect?: ScalarNode;
  readonly steps: readonly Step[];
}

interface ParallelStep extends StepBase {
  readonly kind: 'parallel';
  readonly limit: number;
  readonly fail: 'fast' | 'wait';
  readonly branches: readonly Branch[];
}

export interface Branch {
  readonly step: Step;
  /** Ids of branches beside it. */
  readonly needs: readonly Located<string>[];
}

interface TryStep extends StepBase {
  readonly kind: 'try';
  readonly steps: readonly Step[];
  readonly catch: readonly CatchClause[];
  readonly finally: readonly Step[];
  readonly finallyTimeoutMs?: number;
}

export interface CatchClause {
  /** Place of the clause. */
  readonly range: Range;
  /** Absent: every code. */
  readonly errors?: readonly Located<string>[];
  readonly as: Located<string>;
  readonly steps: readonly Step[];
}

interface IfStep extends StepBase {
  readonly kind: 'if';
  readonly test: ScalarNode;
  readonly then: readonly Step[];
  readonly else: readonly Step[];
}

export interface ApproveStep extends StepBase {
  readonly kind: 'approve';
  readonly show: readonly Entry[];
  readonly fields: readonly InputDeclaration[];
  /** Absent: without end. */
  readonly expires?: SourceNode;
  readonly quorum: number;
  readonly summary?: SourceNode;
}

interface WaitStep extends StepBase {
  readonly kind: 'wait';
  /** A duration, or a timestamp. */
  readonly what: 'for' | 'until';
  readonly value: SourceNode;
}

interface StopStep extends StepBase {
  readonly kind: 'stop';
  readonly reason: SourceNode;
}

/** `pipeline`: calls the pipeline of another file. */
export interface CallStep extends StepBase {
  readonly kind: 'pipeline';
  /** The file, as the author names it. */
  readonly file: Located<string>;
  /** Place of the `with` key, of the file's name where there is none. */
  readonly withRange: Range;
  /** Null when it is misspelt or no map, which is told. */
  readonly with: readonly Entry[] | null;
  /** An entry of it is left out, which is told: it may be any input. */
  readonly withBroken?: true;
  readonly summary?: SourceNode;
}

/** What is already reported. `ids` are the ids in it: references to them are no further mistake. */
interface BrokenStep extends StepBase {
  readonly kind: 'broken';
  readonly ids: readonly string[];
}
