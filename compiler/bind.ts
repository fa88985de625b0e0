/** A checked pipeline and the inputs of a run to a Plan. */
import { parseDocument } from 'yaml';
import { isJsonObject, type Json } from '../core/json.js';
import { IR_VERSION, MAX_PLAN_BYTES, type Network, type Plan } from '../core/plan.js';
import { isOfKind } from '../core/value-kind.js';
import type { CheckedInput, CheckedPipeline } from './check.js';
import { Diagnostics, type Diagnostic, type Source } from './diagnostic.js';
import { findSecretLiterals } from './secret-literals.js';
import { suggestHint } from './suggest.js';
import { printType, type Type } from './types.js';
import { VALUES } from './values.js';
import { toJson } from './yaml.js';

/** An input as it was given: text from a command line, read by the input's type, or a value. */
export type GivenInput =
  | { readonly text: string }
  | {
      readonly value: Json;
      /** Where it stands, `file:line:column`; absent where it comes from no file. */
      readonly place?: string;
    };

export interface Binding {
  readonly inputs: ReadonlyMap<string, GivenInput>;
  readonly network: Network;
  /** SHA-256 of the file's bytes, lower-case hex. */
  readonly sourceSha256: string;
  /** The file that was checked: mistakes in inputs are shown at the declarations. */
  readonly source: Source;
}

/** Exactly one of the two: a Plan, or what is wrong with the inputs. */
export interface Bound {
  readonly plan: Plan | null;
  readonly diagnostics: readonly Diagnostic[];
}

export function bindPipeline(pipeline: CheckedPipeline, binding: Binding): Bound {
  const diagnostics = new Diagnostics(binding.source);
  const inputs = bindInputs(pipeline, binding, diagnostics);
  if (diagnostics.size > 0) return { plan: null, diagnostics: diagnostics.list() };
  const plan: Plan = {
    irVersion: IR_VERSION,
    pipeline: pipeline.name,
    ...(pipeline.summary === undefined ? {} : { summary: pipeline.summary }),
    sourceSha256: binding.sourceSha256,
    network: binding.network,
    inputs,
    steps: pipeline.steps,
    outputs: pipeline.outputs,
    ...pipeline.terms,
  };
  const sizeBytes = new TextEncoder().encode(JSON.stringify(plan)).length;
  if (sizeBytes > MAX_PLAN_BYTES) {
    diagnostics.add(
      'PLAN_TOO_LARGE',
      pipeline.inputsRange,
      `pipeline and inputs make a plan of ${sizeBytes} bytes; at most ${MAX_PLAN_BYTES} can be started`,
      'put large inputs into files that steps read',
    );
    return { plan: null, diagnostics: diagnostics.list() };
  }
  return { plan, diagnostics: [] };
}

function bindInputs(
  pipeline: CheckedPipeline,
  { inputs: given }: Binding,
  diagnostics: Diagnostics,
): { [name: string]: Json } {
  const bound: { [name: string]: Json } = {};
  for (const [name, { place }] of placesOf(given)) {
    if (pipeline.inputs.some((input) => input.name === name)) continue;
    diagnostics.add(
      'INPUT_UNKNOWN',
      pipeline.inputsRange,
      `the pipeline \`${pipeline.name}\` has no input \`${name}\`${place}`,
      suggestHint(
        name,
        pipeline.inputs.map((input) => input.name),
        'it takes no inputs',
      ),
    );
  }
  for (const input of pipeline.inputs) {
    const value = given.get(input.name);
    if (value !== undefined) {
      const result = readInput(value, input.type);
      if (typeof result === 'string') {
        diagnostics.add(
          'INPUT_INVALID',
          input.nameRange,
          // A parser's own words, or the name of a member, may quote what was given.
          `the input \`${input.name}\` ${holdsSecret(result) ? 'does not fit, and looks like a secret' : result}`,
          exampleOf(input, value),
        );
      } else {
        bound[input.name] = result.value;
      }
    } else if (input.default !== undefined) {
      bound[input.name] = toJson(input.default);
    } else if (input.required) {
      const meaning = input.summary === '' ? '' : `: ${input.summary}`;
      diagnostics.add(
        'INPUT_MISSING',
        input.nameRange,
        `the input \`${input.name}\` is missing${meaning}`,
        exampleOf(input),
      );
    }
  }
  return bound;
}

function placesOf(given: Binding['inputs']): [string, { readonly place: string }][] {
  return [...given].map(([name, one]) => {
    const place = 'place' in one && one.place !== undefined ? ` (${one.place})` : '';
    return [name, { place }];
  });
}

function exampleOf({ name, type }: CheckedInput, given?: GivenInput): string {
  if (given !== undefined && 'value' in given && given.place !== undefined)
    return `correct it at ${given.place}, such as \`${name}: ${exampleValue(type)}\``;
  const text = given !== undefined && 'text' in given ? given.text.trim() : '';
  // `a,b` is how other tools take a list.
  if (
    type.kind === 'list' &&
    /^[\w.-]+(?:\s*,\s*[\w.-]+){0,7}$/.test(text.slice(0, 200)) &&
    !holdsSecret(text)
  )
    return `give it with \`--input ${name}='[${text
      .slice(0, 200)
      .split(/\s*,\s*/)
      .join(', ')}]'\``;
  return `give it with \`--input ${name}=${exampleText(type)}\``;
}

/** As it stands in a file: a shell's quotes are none of YAML's there. */
function exampleValue(type: Type): string {
  return exampleText(type).replace(/^'(.*)'$/, '$1');
}

function exampleText(type: Type): string {
  switch (type.kind) {
    case 'int':
      return '3';
    case 'number':
      return '0.5';
    case 'bool':
      return 'true';
    case 'duration':
      return '15m';
    case 'timestamp':
      return '2026-01-31T12:00:00Z';
    case 'one_of':
      return type.values[0] ?? '…';
    case 'list':
      return type.of.kind === 'string' ? "'[a, b]'" : `'[${exampleValue(type.of)}]'`;
    case 'map':
      return `'{ key: ${exampleValue(type.of)} }'`;
    case 'named':
    case 'record':
      return `'{ ${[...type.fields]
        .filter(([, field]) => !field.optional)
        .map(([key]) => `${key}: …`)
        .join(', ')} }'`;
    default:
      return '…';
  }
}

type Read = { readonly value: Json } | string;

/** The value of an input, or what is wrong with it, as the rest of a sentence. */
export function readInput(given: GivenInput, type: Type): Read {
  if ('value' in given) {
    const problem = findProblem(given.value, type, '');
    return problem === null ? { value: given.value } : problem;
  }
  const { text } = given;
  if (text.length > MAX_PLAN_BYTES)
    return `is ${text.length} characters long; a whole plan is at most ${MAX_PLAN_BYTES} bytes`;
  const isScalar = ['string', 'one_of', 'int', 'number', 'bool', 'duration', 'timestamp'].includes(
    type.kind,
  );
  const parsed = isScalar ? readScalar(text, type) : readYaml(text);
  if (typeof parsed === 'string') return parsed;
  const problem = findProblem(parsed.value, type, '');
  return problem === null ? parsed : problem;
}

function readScalar(text: string, type: Type): Read {
  switch (type.kind) {
    case 'int':
      return /^[+-]?\d+$/.test(text)
        ? Number.isSafeInteger(Number(text))
          ? { value: Number(text) }
          : `is ${quoted(text)}, which is beyond ±2^53`
        : `is ${quoted(text)}, which is not an int`;
    case 'number':
      return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text)
        ? { value: Number(text) }
        : `is ${quoted(text)}, which is not a number`;
    case 'bool':
      return text === 'true' || text === 'false'
        ? { value: text === 'true' }
        : `is ${quoted(text)}, which is neither true nor false`;
    default:
      return { value: text };
  }
}

/** Lists and records are given as YAML, of which JSON is a part. */
function readYaml(text: string): Read {
  try {
    const document = parseDocument(text, {
      version: '1.2',
      schema: 'core',
      merge: false,
      prettyErrors: false,
    });
    const [error] = [...document.errors, ...document.warnings];
    if (error !== undefined) throw error;
    // An own limit: aliases could stand for more than the text is long.
    return {
      value: JSON.parse(JSON.stringify(document.toJS({ maxAliasCount: 50 }) ?? null)) as Json,
    };
  } catch (problem) {
    const message = problem instanceof Error ? problem.message : String(problem);
    // Of a stack that was too small for it, thrown or as an error of the syntax.
    if (message.startsWith('Maximum call stack')) return 'is nested too deeply to be read';
    return `does not parse as YAML or JSON: ${message}`;
  }
}

/** Why a value is not of a type, as the rest of a sentence; null when it is. */
export function findProblem(value: Json, type: Type, path: string): string | null {
  const at = path === '' ? '' : ` at \`${path}\``;
  const wrong = `takes ${printType(type)}${at}, not ${describe(value)}`;
  switch (type.kind) {
    case 'string':
      if (typeof value !== 'string') return wrong;
      return value.includes('\0')
        ? `holds the character NUL${at}, which no program can be given`
        : null;
    case 'int':
    case 'number':
    case 'bool':
    case 'duration':
    case 'timestamp':
      return isOfKind(value, type.kind) ? null : wrong;
    case 'one_of':
      return type.values.some((known) => known === value) ? null : wrong;
    case 'list':
      if (!Array.isArray(value)) return wrong;
      return firstOf(value.map((item, index) => findProblem(item, type.of, `${path}[${index}]`)));
    case 'map':
      if (!isJsonObject(value)) return wrong;
      return firstOf(
        Object.entries(value).map(([key, item]) =>
          findProblem(item, type.of, path === '' ? key : `${path}.${key}`),
        ),
      );
    case 'named':
      return findValueProblem(value, type.name, path);
    default:
      return null;
  }
}

function firstOf(problems: readonly (string | null)[]): string | null {
  return problems.find((problem) => problem !== null) ?? null;
}

function findValueProblem(value: Json, name: string, path: string): string | null {
  if (!Object.hasOwn(VALUES, name)) return null;
  const parsed = VALUES[name as keyof typeof VALUES].safeParse(value);
  if (parsed.success) return null;
  const [issue] = parsed.error.issues;
  const place = [path, ...(issue?.path ?? []).map(String)].filter((part) => part !== '').join('.');
  return `is not a ${name}${place === '' ? '' : ` at \`${place}\``}: ${issue?.message ?? 'it does not fit'}`;
}

function describe(value: Json): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a map' : quoted(String(value));
}

/** A text as a message shows it: not one that looks like a secret, which somebody may have given to the wrong input. */
function quoted(text: string): string {
  if (holdsSecret(text)) return 'a text that looks like a secret';
  return text.length <= 60 ? `\`${text}\`` : `a text of ${text.length} characters`;
}

function holdsSecret(text: string): boolean {
  // Words are a mnemonic where they are a whole value.
  return findSecretLiterals(`"${text.slice(0, 1_000)}"`).length > 0;
}
