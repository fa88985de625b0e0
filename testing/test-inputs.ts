/** `inputs` and `values` of a test file: values that the pipeline could be started with, and such as are written once. */
import { bindPipeline, type GivenInput } from '../compiler/bind.js';
import type { CheckedPipeline } from '../compiler/check.js';
import type { Diagnostics, Range, Source } from '../compiler/diagnostic.js';
import { headOf, NAME_PATTERN } from '../compiler/read-map.js';
import { suggest, suggestHint } from '../compiler/suggest.js';
import { compileTemplate } from '../compiler/template.js';
import { printType } from '../compiler/types.js';
import { toJson, type Entry, type SourceNode } from '../compiler/yaml.js';
import { evaluateTemplate, ExpressionError } from '../core/evaluate.js';
import type { Json, JsonObject } from '../core/json.js';
import type { Plan } from '../core/plan.js';
import { valueScope } from './step-outputs.js';
import { withoutAbsent, writtenType } from './written-type.js';

export interface Input {
  readonly name: string;
  readonly range: Range;
  /** Undefined for what is reported: it is not missing as well. */
  readonly value: Json | undefined;
}

/** What the tests of a file share when their inputs are bound. */
export interface ForBinding {
  readonly checked: CheckedPipeline;
  /** The text of the pipeline. */
  readonly pipelineSource: Source;
  readonly diagnostics: Diagnostics;
  /** Inputs that the file gives to all tests. */
  readonly inputs: readonly Input[];
  /** The way out for an input that is missing. */
  readonly missingHint: string;
  /** Plans by their inputs: most tests have the same. */
  readonly bound: Map<string, Plan>;
  /** Mistakes of inputs: one of the file is the same in every test. */
  readonly told: Set<string>;
}

function readMap(
  node: SourceNode | undefined,
  what: string,
  diagnostics: Diagnostics,
): readonly Entry[] {
  if (node === undefined || (node.kind === 'scalar' && node.value === null)) return [];
  if (node.kind === 'map') return node.entries;
  diagnostics.add('VALUE_INVALID', headOf(node), `\`${what}\` is a map from names to values`);
  return [];
}

/** Plain values that are written once, and read as `${{ values.name }}`. */
export function readValues(node: SourceNode | undefined, diagnostics: Diagnostics): JsonObject {
  const values: JsonObject = {};
  for (const { key, keyRange, value } of readMap(node, 'values', diagnostics)) {
    if (!NAME_PATTERN.test(key)) {
      diagnostics.add(
        'ID_INVALID',
        keyRange,
        `\`${key}\` is not a name for a value`,
        'use letters, digits and `_`, not beginning with a digit, at most 64',
      );
      continue;
    }
    const expression = findExpression(value);
    if (expression !== null) {
      diagnostics.add(
        'VALUE_INVALID',
        headOf(expression),
        'a value under `values` is plain',
        'expressions belong into `steps`; within `values` an anchor repeats a part',
      );
    }
    values[key] = toJson(value);
  }
  return values;
}

/** The first part of a value that holds an expression; null where it is plain. */
export function findExpression(node: SourceNode): SourceNode | null {
  const within = (nodes: readonly SourceNode[]): SourceNode | null => {
    for (const inner of nodes) {
      const found = findExpression(inner);
      if (found !== null) return found;
    }
    return null;
  };
  if (node.kind === 'list') return within(node.items);
  if (node.kind === 'map') return within(node.entries.map(({ value }) => value));
  return typeof node.value === 'string' && node.value.includes('${{') ? node : null;
}

export function readInputs(
  node: SourceNode | undefined,
  pipeline: CheckedPipeline,
  { diagnostics, values }: { readonly diagnostics: Diagnostics; readonly values: JsonObject },
): readonly Input[] {
  return readMap(node, 'inputs', diagnostics).flatMap(({ key, keyRange, value }): Input[] => {
    const declared = pipeline.inputs.find((input) => input.name === key);
    if (declared === undefined) {
      const known = pipeline.inputs.map((input) => input.name);
      diagnostics.add(
        'INPUT_UNKNOWN',
        keyRange,
        `the pipeline \`${pipeline.name}\` has no input \`${key}\``,
        suggestHint(key, known, 'it takes no inputs'),
      );
      const meant = suggest(key, known);
      return meant === null ? [] : [{ name: meant, range: keyRange, value: undefined }];
    }
    const range = headOf(value);
    const before = diagnostics.size;
    const type = writtenType(declared.type);
    const scope = valueScope(values, null);
    const { template } = compileTemplate(value, type, { name: key, scope, diagnostics });
    scope.file.report(diagnostics);
    if (diagnostics.size > before) return [{ name: key, range, value: undefined }];
    try {
      const given = withoutAbsent(evaluateTemplate(template, { values }), type);
      return [{ name: key, range, value: given }];
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      diagnostics.add('INPUT_INVALID', range, `this cannot be computed: ${error.message}`);
      return [{ name: key, range, value: undefined }];
    }
  });
}

/** The plan of a test, null when its inputs are wrong; `place` is where what is missing would stand. */
export function bindInputs(own: readonly Input[], shared: ForBinding, place: Range): Plan | null {
  const { checked, pipelineSource: source, diagnostics, inputs, bound } = shared;
  const given = new Map<string, Input>();
  for (const input of [...inputs, ...own]) given.set(input.name, input);
  const told = (message: string): boolean => {
    const isNew = !shared.told.has(message);
    shared.told.add(message);
    return !isNew;
  };
  const missing = checked.inputs.filter((input) => input.required && !given.has(input.name));
  for (const { name, type } of missing) {
    const message = `the input \`${name}\` is missing (${printType(type)})`;
    if (told(message)) continue;
    diagnostics.add('INPUT_MISSING', place, message, shared.missingHint);
  }
  const values = [...given.values()].flatMap(({ name, value }) =>
    value === undefined ? [] : [[name, value] as const],
  );
  if (missing.length > 0 || values.length < given.size) return null;
  const key = JSON.stringify(values);
  const known = bound.get(key);
  if (known !== undefined) return known;
  const { plan, diagnostics: problems } = bindPipeline(checked, {
    inputs: new Map<string, GivenInput>(values.map(([name, value]) => [name, { value }])),
    network: { coordinator: '', hotkey: '' },
    sourceSha256: '0'.repeat(64),
    source,
  });
  if (plan !== null) bound.set(key, plan);
  // What the type does not say (lengths, patterns) binding does, at the declaration: here the value is the place.
  for (const { code, message } of problems) {
    if (told(message)) continue;
    const input = [...given.values()].find(({ name }) => message.includes(`\`${name}\``));
    diagnostics.add(code, input?.range ?? place, message);
  }
  return plan;
}
