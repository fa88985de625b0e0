/** A compiled test file: what its author wrote, checked against the pipeline, ready to be run. */
import type { CheckedPipeline } from '../compiler/check.js';
import type { Range, Source } from '../compiler/diagnostic.js';
import type { StepSignature } from '../compiler/step-signature.js';
import type { Type } from '../compiler/types.js';
import type { SourceNode } from '../compiler/yaml.js';
import type { Expr, Template } from '../core/expression.js';
import type { JsonObject } from '../core/json.js';
import type { Plan } from '../core/plan.js';
import type { StepNames } from './step-names.js';

/** A test file without mistakes. */
export interface TestFile {
  readonly source: Source;
  readonly pipeline: CheckedPipeline;
  readonly names: StepNames;
  readonly signatures: ReadonlyMap<string, StepSignature>;
  /** `values` of the file. */
  readonly values: JsonObject;
  readonly tests: readonly TestCase[];
}

export interface TestCase {
  readonly name: string;
  readonly nameRange: Range;
  readonly plan: Plan;
  /** When the run begins, in milliseconds since the epoch. */
  readonly startsAtMs: number;
  /** How long after its beginning the run is cancelled, in milliseconds; null: it is not. */
  readonly cancelAfterMs: number | null;
  /** What replaces steps: the test's own before those of the file, the most exact name before others. */
  readonly stubs: readonly Stub[];
  readonly decisions: readonly DecisionScript[];
  readonly approvals: readonly ApprovalScript[];
  readonly assertions: readonly Assertion[];
}

/** What is said of the steps that one name means. */
export interface Script<Turn> {
  /** As the author wrote it. */
  readonly name: string;
  readonly nameRange: Range;
  /** Path, with `#*` for all items. */
  readonly pattern: string;
  /** Written in the test itself: it must be used. */
  readonly own: boolean;
  readonly turns: readonly Turn[];
  /** One turn that was not written as a list: it is there every time. */
  readonly always: boolean;
}

export type Stub = Script<Outcome>;

/** What one start of a step comes to. */
export interface Outcome {
  readonly range: Range;
  readonly delayMs: number;
  readonly end: OutputsEnd | ErrorEnd;
}

interface OutputsEnd {
  readonly kind: 'outputs';
  readonly node: SourceNode;
  /** Reads `values`, `input` and `start`. */
  readonly template: Template;
  readonly type: Type;
  /** What the template gives, where it reads nothing of the run. */
  readonly value?: JsonObject;
}

interface ErrorEnd {
  readonly kind: 'error';
  readonly code: string;
  readonly message: string | null;
  readonly hint: string | null;
  readonly retryAfterMs: number | null;
  /** How long a person may be asked about it, in milliseconds. */
  readonly askForMs: number | null;
}

export type DecisionScript = Script<DecisionTurn>;

/** What a person says when the step is parked, and how long after. */
export interface DecisionTurn {
  readonly range: Range;
  readonly afterMs: number;
  readonly action: 'retry' | 'fail' | 'value';
  /** Of `value`: outputs as the step type takes them. */
  readonly outputs?: JsonObject;
}

/** One turn is one answer: an approval takes them until it is over. */
export type ApprovalScript = Script<AnswerTurn>;

/** What a person answers to an approval, and how long after the answer before, or after it began. */
export interface AnswerTurn {
  readonly range: Range;
  readonly afterMs: number;
  readonly action: 'approve' | 'reject';
  readonly by: string;
  readonly reason?: string;
  /** Of `approve`: as the step declares them. */
  readonly fields?: JsonObject;
}

export interface Assertion {
  readonly range: Range;
  readonly text: string;
  readonly expr: Expr;
  /** Names of steps that it looks up, by the map that it reads: what was never reached has a value too. */
  readonly lookups: ReadonlyArray<{ readonly map: string; readonly key: string }>;
}

/** Something about a test that is not as it says. */
export interface TestFailure {
  readonly kind: 'assertion' | 'stub' | 'decision' | 'approval' | 'defect';
  readonly message: string;
  /** What the values were, or what to write; lines. */
  readonly details: readonly string[];
  readonly range: Range;
}
