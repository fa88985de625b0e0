/** Step signatures to the reference of step types: docs/steps.md, and what `adit steps` shows. */
import { DEFAULT_RETRY } from './check-uses.js';
import type { StepSignature } from './step-signature.js';
import { fieldsOfSchema, printType, type Fields } from './types.js';

/** A step type as `adit steps --json` gives it. */
export interface StepDescription {
  readonly name: string;
  readonly summary: string;
  readonly effect: boolean;
  /** It runs a program: its timeout is run time. */
  readonly program: boolean;
  readonly inputs: readonly FieldDescription[];
  readonly outputs: readonly FieldDescription[];
  readonly defaults: {
    readonly timeout: string;
    readonly attemptTimeout: string | null;
    readonly heartbeat: string | null;
    readonly retry: {
      readonly attempts: number;
      readonly first: string;
      readonly factor: number;
      readonly most: string;
    };
  };
  readonly errors: readonly string[];
  readonly example: string;
}

export interface FieldDescription {
  readonly name: string;
  readonly type: string;
  readonly optional: boolean;
  readonly default?: unknown;
  readonly summary: string;
}

export function describeStep(signature: StepSignature): StepDescription {
  const { name, summary, defaults } = signature;
  return {
    name,
    summary,
    effect: signature.effect ?? false,
    program: signature.program ?? false,
    inputs: describeFields(fieldsOfSchema(signature.input, 'input', name)),
    outputs: describeFields(fieldsOfSchema(signature.output, 'output', name)),
    defaults: {
      timeout: defaults.timeout,
      attemptTimeout: defaults.attemptTimeout ?? null,
      heartbeat: defaults.heartbeat ?? null,
      retry: { ...DEFAULT_RETRY, ...defaults.retry },
    },
    errors: signature.errors,
    example: signature.example.trim(),
  };
}

function describeFields(fields: Fields): FieldDescription[] {
  return [...fields].map(([name, field]) => ({
    name,
    type: printType(field.type),
    optional: field.optional,
    ...(field.default === undefined ? {} : { default: field.default }),
    summary: field.summary,
  }));
}

/** The text of docs/steps.md. */
export function printReference(signatures: readonly StepSignature[]): string {
  const descriptions = signatures.map(describeStep);
  const index = descriptions.map(
    ({ name, summary }) => `- [\`${name}\`](#${name.replaceAll('.', '')}): ${summary}`,
  );
  return [
    '<!-- Generated from the step types from activities/*.ts by `UPDATE_DOCS=1 npx vitest run --project corpus reference`. -->',
    '',
    '# Step types',
    '',
    'What a step takes goes under `with`, what it gives is read as `steps.<id>.<output>`. Every step can also end with the',
    'codes of the engine: `STEP_INPUT_INVALID`, `STEP_OUTPUT_INVALID`, `STEP_TIMEOUT`, `ATTEMPT_TIMEOUT`, `EXPRESSION_FAILED`,',
    '`STATE_TOO_LARGE`, `NETWORK_MISMATCH` and `SETTING_MISSING` ([errors](errors.md)).',
    '',
    ...index,
    '',
    ...descriptions.map(printStep),
  ].join('\n');
}

function printStep(step: StepDescription): string {
  const { retry } = step.defaults;
  const limits = [
    `Ends after ${step.defaults.timeout}${step.program ? ' of run time' : ''}`,
    step.defaults.attemptTimeout === null
      ? null
      : `each attempt after ${step.defaults.attemptTimeout}`,
    step.defaults.heartbeat === null
      ? null
      : `a worker counts as lost after ${step.defaults.heartbeat} of silence`,
    retry.attempts === 1
      ? 'tried once'
      : `tried up to ${retry.attempts} times, first after ${retry.first}, then ${retry.factor} times as long, at most ${retry.most}`,
  ].filter((part) => part !== null);
  return [
    `## ${step.name}`,
    '',
    [
      step.summary,
      ...(step.effect ? ['It changes something outside that cannot be taken back.'] : []),
      ...(step.program ? ['It runs a program, which may lease devices: `on: { gpus: 1 }`.'] : []),
    ].join(' '),
    '',
    ...printFields('Inputs', step.inputs, true),
    ...printFields('Outputs', step.outputs, false),
    `${limits.join('; ')}.`,
    '',
    ...(step.errors.length === 0
      ? []
      : [
          `Errors: ${step.errors.map((code) => `[\`${code}\`](errors.md#${code.toLowerCase()})`).join(', ')}.`,
          '',
        ]),
    '```yaml',
    step.example,
    '```',
    '',
  ].join('\n');
}

function printFields(
  title: string,
  fields: readonly FieldDescription[],
  isInput: boolean,
): string[] {
  if (fields.length === 0) return [`${title}: none.`, ''];
  const rows = fields.map((field) => {
    const note = !field.optional
      ? ''
      : field.default !== undefined
        ? ` Default: \`${JSON.stringify(field.default)}\`.`
        : isInput
          ? ' Optional.'
          : ' May be absent.';
    return `| \`${field.name}\` | ${escapeCell(field.type)} | ${escapeCell(field.summary)}${note} |`;
  });
  return [`| ${title.slice(0, -1)} | Type | Meaning |`, '|---|---|---|', ...rows, ''];
}

/** A cell of a Markdown table: no bars, no line ends, and `<` as text. */
function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<').replaceAll(/\s+/g, ' ');
}
