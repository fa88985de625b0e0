import { parseDuration } from '../core/duration.js';
import type { Template } from '../core/expression.js';
import type { ActivityStep, StepOptions } from '../core/plan.js';
import type { Diagnostics } from './diagnostic.js';
import { compileMetricCondition } from './metric-condition.js';
import type { UsesStep } from './pipeline.js';
import { translate } from './other-words.js';
import { headOf } from './read-map.js';
import { offers, type Scope } from './scope.js';
import type { StepSignature } from './step-signature.js';
import { COMMON, KEYS } from './step-kind.js';
import { listNames, suggest, suggestHint } from './suggest.js';
import { bareSource, compileTemplate } from './template.js';
import {
  fieldsOfSchema,
  parseType,
  printType,
  STRING,
  UNKNOWN,
  type Field,
  type Fields,
  type Type,
} from './types.js';
import { toJson, type Entry, type ScalarNode } from './yaml.js';

/** Retries of a step whose type and author say nothing about them. */
export const DEFAULT_RETRY = { attempts: 3, first: '2s', factor: 2, most: '1m' } as const;

/** What stands beside `with`, and not in it. */
const STEP_OPTIONS: readonly string[] = [...COMMON, ...KEYS.step];

type Planned = Omit<ActivityStep, 'id' | 'key' | 'if'>;

/** A step with `uses`, checked against its step type, and the type of its outputs. */
export function compileUses(
  step: UsesStep,
  signatures: ReadonlyMap<string, StepSignature>,
  scope: Scope,
  diagnostics: Diagnostics,
): { plan: Planned; outputs: Type } {
  const { value: name, range } = step.uses;
  const signature = signatures.get(name);
  if (signature === undefined) {
    diagnostics.add(
      'STEP_TYPE_UNKNOWN',
      range,
      `there is no step type \`${name}\``,
      stepTypeHint(name, [...signatures.keys()]),
    );
    // References inside it are mistakes of their own.
    for (const { key, value } of step.with ?? [])
      compileTemplate(value, UNKNOWN, { name: key, scope, diagnostics });
    return {
      plan: { kind: 'step', uses: name, with: [], optional: [], host: [], options: NO_OPTIONS },
      outputs: UNKNOWN,
    };
  }
  const fields = schemaFields(signature, 'input');
  const bound = compileWith(step, { name, fields }, scope, diagnostics, (entry, field) =>
    compileEntry(entry, field, signature, scope, diagnostics),
  );
  const summary =
    step.summary === undefined
      ? null
      : compileTemplate(step.summary, STRING, { name: 'summary', scope, diagnostics }).template;
  return {
    plan: {
      kind: 'step',
      uses: name,
      with: bound,
      optional: bound.map(([key]) => key).filter((key) => fields.get(key)?.optional === true),
      options: {
        ...optionsOf(step, signature),
        ...checkGpus(step, signature, signatures, diagnostics),
      },
      host: signature.host ?? [],
      ...(signature.program === true ? { program: true } : {}),
      ...(signature.effect === true ? { effect: true } : {}),
      ...(summary === null ? {} : { summary }),
    },
    outputs: outputsOf(step, signature),
  };
}

/** The step type that was meant: by its name, or by a word that both have. */
function stepTypeHint(name: string, known: readonly string[]): string {
  if (name.includes('${{')) return 'what a step does is settled before the run';
  const near = suggest(name, known);
  if (near !== null) return `did you mean \`${near}\`?`;
  const words = name.toLowerCase().split(/[^a-z]+/);
  if (
    words.some((word) => ['shell', 'bash', 'sh', 'exec', 'command', 'script', 'cmd'].includes(word))
  )
    return 'a command is run by `process.run`';
  const alike = known.filter((one) => one.split(/[._]/).some((part) => words.includes(part)));
  return alike.length > 0 && alike.length < 7
    ? `there are: ${listNames(alike)}`
    : '`adit steps` lists them';
}

/** Devices are leased by programs: a step type without one would ignore the option. */
function checkGpus(
  { options: { gpus } }: UsesStep,
  { name, program }: StepSignature,
  signatures: ReadonlyMap<string, StepSignature>,
  diagnostics: Diagnostics,
): Pick<StepOptions, 'gpus'> {
  if (gpus === undefined) return {};
  if (program === true) return { gpus: gpus.value };
  const programs = [...signatures.values()].filter((one) => one.program === true);
  diagnostics.add(
    'VALUE_INVALID',
    gpus.range,
    `\`gpus\` is for steps that run a program, and ${name} runs none`,
    `these do: ${programs.map((one) => `\`${one.name}\``).join(', ')}`,
  );
  return {};
}

/** The values of `with`, each checked by `compile`; what is unknown or missing is told. `name` is who takes them. */
export function compileWith(
  step: Pick<UsesStep, 'with' | 'withRange' | 'withBroken'> & Partial<Pick<UsesStep, 'stray'>>,
  { name: taker, fields }: { readonly name: string; readonly fields: Fields },
  scope: Scope,
  diagnostics: Diagnostics,
  compile: (entry: Entry, field: Field) => Template,
): Array<readonly [string, Template]> {
  if (step.with === null) return [];
  const given = new Set([...step.with.map(({ key }) => key), ...(step.stray ?? [])]);
  const bound: Array<readonly [string, Template]> = [];
  for (const entry of step.with) {
    const field = fields.get(entry.key);
    if (field !== undefined) {
      bound.push([entry.key, compile(entry, field)]);
      continue;
    }
    const open = [...fields.keys()].filter((name) => !given.has(name));
    const known = open.length > 0 ? open : [...fields.keys()];
    const meant = suggest(entry.key, known) ?? translate(entry.key, known);
    diagnostics.add(
      'STEP_INPUT_UNKNOWN',
      entry.keyRange,
      `${taker} has no input \`${entry.key}\``,
      STEP_OPTIONS.includes(entry.key)
        ? 'it is an option of the step: write it beside `with`'
        : meant === null
          ? suggestHint(entry.key, known, 'it takes no inputs')
          : `did you mean \`${meant}\`?`,
    );
    // A misspelt input is not missing as well.
    if (meant !== null) given.add(meant);
    compileTemplate(entry.value, UNKNOWN, { name: entry.key, scope, diagnostics });
  }
  if (step.withBroken === true) return bound;
  const missing = [...fields].filter(([name, field]) => !field.optional && !given.has(name));
  if (missing.length > 0) {
    const names = missing.map(([name, field]) => `\`${name}\` (${printType(field.type)})`);
    const offered = missing.flatMap(([name, field]) => {
      const [offer] = offers(field.type, scope);
      return offer === undefined ? [] : [`\`${name}: \${{ ${offer} }}\``];
    });
    diagnostics.add(
      'STEP_INPUT_MISSING',
      step.withRange,
      `${taker} needs ${missing.length === 1 ? 'the input' : 'the inputs'} ${names.join(', ')}`,
      offered.length > 0
        ? `for instance ${offered.join(', ')}`
        : missing.length > 1
          ? 'give them under `with`'
          : missing[0]?.[1].summary || 'give it under `with`',
    );
  }
  return bound;
}

function compileEntry(
  { key, value }: Entry,
  field: Field,
  signature: StepSignature,
  scope: Scope,
  diagnostics: Diagnostics,
): Template {
  const { metricConditions = [] } = signature;
  if (metricConditions.includes(key) && value.kind === 'scalar' && typeof value.value === 'string')
    return compileMetricInput(key, value, diagnostics);
  const before = diagnostics.size;
  const want: Type = field.optional ? { kind: 'nullable', of: field.type } : field.type;
  const { template, literal } = compileTemplate(value, want, { name: key, scope, diagnostics });
  if (literal && template.t === 'value' && diagnostics.size === before) {
    // What the type does not say (lengths, patterns, ranges) the schema does.
    const parsed = signature.input.shape[key]?.safeParse(template.value);
    if (parsed?.success === false) {
      const [issue] = parsed.error.issues;
      const at =
        issue === undefined || issue.path.length === 0 ? '' : ` at ${issue.path.join('.')}`;
      diagnostics.add(
        'VALUE_TYPE',
        headOf(value),
        issue?.code === 'too_small' && issue.minimum === 1
          ? `\`${key}\`${at} is empty`
          : `\`${key}\` is not valid${at}: ${issue?.message ?? 'it does not fit'}`,
        field.summary,
      );
    }
  }
  return template;
}

/** A condition that the host looks at while the program runs: it stays text, and is checked here already. */
function compileMetricInput(key: string, node: ScalarNode, diagnostics: Diagnostics): Template {
  const text = String(node.value);
  if (text.includes('${{')) {
    diagnostics.add(
      'EXPRESSION_SYNTAX',
      node.range,
      `\`${key}\` takes the bare expression, without \`\${{ }}\``,
      'it sees `metrics` and nothing else, for instance `metrics.loss < 2.5`',
    );
  } else if (node.broken !== true)
    compileMetricCondition(bareSource(node, diagnostics), diagnostics);
  return { t: 'value', value: text };
}

const schemaCache = new WeakMap<object, Fields>();

function schemaFields(signature: StepSignature, io: 'input' | 'output'): Fields {
  const known = schemaCache.get(signature[io]);
  if (known !== undefined) return known;
  const fields = fieldsOfSchema(signature[io], io, signature.name);
  schemaCache.set(signature[io], fields);
  return fields;
}

function outputsOf(step: UsesStep, signature: StepSignature): Type {
  const label = `steps.${step.key.replaceAll(/\W/g, '_')}`;
  const fields = schemaFields(signature, 'output');
  const name = signature.typedOutput;
  const output = name === undefined ? undefined : fields.get(name);
  if (name === undefined || output === undefined) return { kind: 'record', label, fields };
  const declared = step.with?.find(({ key }) => key === name)?.value;
  if (step.with === null || (declared !== undefined && declared.kind !== 'map')) {
    return { kind: 'record', label, fields };
  }
  const members = new Map<string, Field>(
    (declared?.entries ?? []).map(({ key, value }) => {
      const type = parseType(String(toJson(value))) ?? UNKNOWN;
      return [key, { type, optional: false, summary: '' }];
    }),
  );
  const typed: Field = {
    ...output,
    type: { kind: 'record', label: `${label}.${name}`, fields: members },
  };
  return { kind: 'record', label, fields: new Map(fields).set(name, typed) };
}

const NO_OPTIONS: StepOptions = {
  timeoutMs: 1,
  retry: { attempts: 1, firstMs: 1, factor: 1, mostMs: 1, never: [] },
};

function optionsOf(step: UsesStep, { name, defaults }: StepSignature): StepOptions {
  const { options } = step;
  const ms = (text: string): number => {
    const parsed = parseDuration(text);
    if (parsed === null) throw new Error(`The step type ${name} declares the duration ${text}.`);
    return parsed;
  };
  const timeoutMs = options.timeoutMs ?? ms(defaults.timeout);
  const attempt =
    options.attemptTimeoutMs ??
    (defaults.attemptTimeout === undefined ? undefined : ms(defaults.attemptTimeout));
  const heartbeat =
    options.heartbeatMs ?? (defaults.heartbeat === undefined ? undefined : ms(defaults.heartbeat));
  return {
    timeoutMs,
    // A step's own default may be longer than the time that its author gives to all attempts.
    ...(attempt === undefined ? {} : { attemptTimeoutMs: Math.min(attempt, timeoutMs) }),
    ...(heartbeat === undefined ? {} : { heartbeatMs: heartbeat }),
    ...(options.onFailure === 'ask' ? { onFailure: 'ask' } : {}),
    retry: {
      attempts: options.retry.attempts ?? defaults.retry?.attempts ?? DEFAULT_RETRY.attempts,
      firstMs: options.retry.firstMs ?? ms(defaults.retry?.first ?? DEFAULT_RETRY.first),
      factor: options.retry.factor ?? defaults.retry?.factor ?? DEFAULT_RETRY.factor,
      mostMs: options.retry.mostMs ?? ms(defaults.retry?.most ?? DEFAULT_RETRY.most),
      never: options.retry.never ?? [],
    },
  };
}
