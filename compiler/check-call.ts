/** A step that calls the pipeline of another file: its inputs are that file's, and its outputs too. */
import type { Template } from '../core/expression.js';
import type { CalledPipeline, PipelineStep } from '../core/plan.js';
import type { ValueKind } from '../core/value-kind.js';
import { findProblem } from './bind.js';
import type { CheckedPipeline } from './check.js';
import { compileWith } from './check-uses.js';
import type { Diagnostics } from './diagnostic.js';
import type { CallStep } from './pipeline.js';
import { headOf } from './read-map.js';
import type { Scope } from './scope.js';
import { compileTemplate } from './template.js';
import { STRING, UNKNOWN, type Field, type Type } from './types.js';
import { toJson, type Entry } from './yaml.js';

/** The file that a step calls, checked by itself: what is wrong in it is told there. */
export interface CalledFile {
  readonly pipeline: CheckedPipeline;
  /** SHA-256 of the file's bytes, lower-case hex. */
  readonly sha256: string;
  /** What is wrong with its inputs is told: any input may be right. */
  readonly inputsBroken: boolean;
  /** It has mistakes, so that its outputs are not known. */
  readonly isBroken: boolean;
  /** Neither it nor any file that it calls has mistakes. */
  readonly isWhole: boolean;
  /** Characters of its longest step path, the slash before it included. */
  readonly longestPath: number;
  /** What it adds to a plan, as JSON text; 0 when it is not whole. */
  readonly sizeBytes: number;
}

type Planned = Omit<PipelineStep, 'id' | 'key' | 'if'>;

/** `called` is null when there is no such file, which is told. */
export function compileCall(
  step: CallStep,
  called: CalledFile | null,
  scope: Scope,
  diagnostics: Diagnostics,
): { plan: Planned; outputs: Type } {
  const summary =
    step.summary === undefined
      ? null
      : compileTemplate(step.summary, STRING, { name: 'summary', scope, diagnostics }).template;
  const checks: { [input: string]: ValueKind } = {};
  const bound = compileInputs(step, called, checks, scope, diagnostics);
  return {
    plan: {
      kind: 'pipeline',
      with: bound,
      ...(Object.keys(checks).length === 0 ? {} : { checks }),
      called: toPlan(step.file.value, called),
      ...(summary === null ? {} : { summary }),
    },
    outputs: called === null || called.isBroken ? UNKNOWN : outputsOf(step, called.pipeline),
  };
}

function compileInputs(
  step: CallStep,
  called: CalledFile | null,
  checks: { [input: string]: ValueKind },
  scope: Scope,
  diagnostics: Diagnostics,
): Array<readonly [string, Template]> {
  if (called === null || called.inputsBroken) {
    // References inside it are mistakes of their own.
    for (const { key, value } of step.with ?? [])
      compileTemplate(value, UNKNOWN, { name: key, scope, diagnostics });
    return [];
  }
  const fields = new Map<string, Field>(
    called.pipeline.inputs.map(({ name, type, required, summary }) => [
      name,
      // What is wrong with a declaration is told there.
      { type, optional: !required || type.kind === 'unknown', summary },
    ]),
  );
  const taker = { name: `\`${step.file.value}\``, fields };
  return compileWith(step, taker, scope, diagnostics, (entry, field) => {
    const { template, type } = compileInput(entry, field, scope, diagnostics);
    // What is put together here has the type that is wanted, whatever is put into it.
    const isMade = entry.value.kind !== 'scalar' && template.t !== 'value';
    if (isMade || mayBeAnything(type)) checks[entry.key] = toKind(field.type);
    return template;
  });
}

function compileInput(
  { key, value }: Entry,
  field: Field,
  scope: Scope,
  diagnostics: Diagnostics,
): { template: Template; type: Type } {
  const before = diagnostics.size;
  const want: Type = field.optional ? { kind: 'nullable', of: field.type } : field.type;
  const { template, type, literal } = compileTemplate(value, want, {
    name: key,
    scope,
    diagnostics,
  });
  const isPlain = literal && template.t === 'value' && diagnostics.size === before;
  if (isPlain && !(field.optional && template.value === null)) {
    // What the type does not say (lengths, patterns) the value's schema does.
    const problem = findProblem(template.value, field.type, '');
    if (problem !== null)
      diagnostics.add('VALUE_TYPE', headOf(value), `\`${key}\` ${problem}`, field.summary);
  }
  return { template, type };
}

function outputsOf(step: CallStep, { outputTypes }: CheckedPipeline): Type {
  const fields = new Map<string, Field>(
    outputTypes.map(([name, type]) => [name, { type, optional: false, summary: '' }]),
  );
  return { kind: 'record', label: `steps.${step.key.replaceAll(/\W/g, '_')}`, fields };
}

function toPlan(file: string, called: CalledFile | null): CalledPipeline {
  // Of one with mistakes nothing is started, and its parts may stand for more than can be counted.
  if (called === null || called.isBroken)
    return { pipeline: '', file, sourceSha256: '', inputs: [], steps: [], outputs: [] };
  const { name, summary, inputs, steps, outputs } = called.pipeline;
  return {
    pipeline: name,
    ...(summary === undefined ? {} : { summary }),
    file,
    sourceSha256: called.sha256,
    inputs: inputs.map((input) => ({
      name: input.name,
      ...(input.default === undefined ? {} : { default: toJson(input.default) }),
    })),
    steps,
    outputs,
  };
}

/** True when the checker cannot know all of a value: the run has to look at it. */
function mayBeAnything(type: Type): boolean {
  switch (type.kind) {
    case 'any':
      return true;
    case 'list':
    case 'map':
    case 'nullable':
      return mayBeAnything(type.of);
    case 'record':
      return [...type.fields.values()].some((field) => mayBeAnything(field.type));
    default:
      return false;
  }
}

function toKind(type: Type): ValueKind {
  switch (type.kind) {
    case 'string':
    case 'int':
    case 'number':
    case 'bool':
    case 'duration':
    case 'timestamp':
      return type.kind;
    case 'one_of':
      return { oneOf: type.values };
    case 'list':
      return { list: toKind(type.of) };
    case 'map':
      return { map: toKind(type.of) };
    default:
      return 'record';
  }
}
