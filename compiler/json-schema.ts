/**
 * The language as JSON Schema, for editors: schema/pipeline.schema.json, what `adit schema` prints. It completes, explains
 * and underlines while a file is written; `adit check` has the last word, since a schema knows no names, no types of
 * expressions and no order of steps.
 *
 * Invariants:
 * 1. What the checker accepts, it accepts: test/corpus/schema.test.ts holds it to that.
 * 2. Keys, names and limits come from the tables that the parser reads by; a key without words here does not compile.
 */
import { parse as parseYaml } from 'yaml';
import type { Json } from '../core/json.js';
import { languageSchema } from './json-schema-language.js';
import { inputsSchema, VALUE_DEFINITIONS, type Schema } from './json-schema-values.js';
import { describeStep } from './reference.js';
import type { StepSignature } from './step-signature.js';

const DIALECT = 'http://json-schema.org/draft-07/schema#';

/** The schema of pipeline files. */
export function pipelineSchema(signatures: readonly StepSignature[]): Schema {
  const definitions: { [name: string]: Schema } = {};
  const define = (name: string, schema: Schema): void => {
    definitions[name] = schema;
  };
  for (const signature of signatures)
    define(`with:${signature.name}`, inputsSchema(signature, exampleInputs(signature), define));
  const { file, definitions: language } = languageSchema({
    uses: {
      type: 'string',
      enum: signatures.map(({ name }) => name),
      markdownEnumDescriptions: signatures.map(({ summary }) => summary),
    },
    byType: signatures.map(stepRules),
  });
  return {
    $schema: DIALECT,
    description: 'A pipeline of Adit.',
    ...file,
    definitions: { ...language, ...VALUE_DEFINITIONS, ...definitions },
  };
}

/** What holds for a step of this type alone: its inputs, and how long it may take when nobody says. */
function stepRules(signature: StepSignature): Schema {
  const { name, input } = signature;
  const { defaults } = describeStep(signature);
  const needsInput = Object.values(input.shape).some(
    (field) => !field.safeParse(undefined).success,
  );
  const own = { $ref: `#/definitions/with:${name}` };
  return {
    if: { type: 'object', properties: { uses: { const: name } }, required: ['uses'] },
    // oxlint-disable-next-line unicorn/no-thenable
    then: {
      properties: {
        uses: { description: describe(signature) },
        with: needsInput ? own : { anyOf: [own, { type: 'null' }] },
        timeout: { default: defaults.timeout, doNotSuggest: true },
        ...(defaults.attemptTimeout === null
          ? {}
          : { attempt_timeout: { default: defaults.attemptTimeout, doNotSuggest: true } }),
        ...(defaults.heartbeat === null
          ? {}
          : { heartbeat: { default: defaults.heartbeat, doNotSuggest: true } }),
        retry: { default: defaults.retry, doNotSuggest: true },
      },
      ...(needsInput ? { required: ['with'] } : {}),
    },
  };
}

/** A step type in a few sentences. */
function describe(signature: StepSignature): string {
  const { summary, effect, program, defaults } = describeStep(signature);
  const { attempts, first } = defaults.retry;
  return [
    summary,
    ...(effect ? ['It changes something outside that cannot be taken back.'] : []),
    ...(program ? ['It runs a program, which may lease devices: `on: { gpus: 1 }`.'] : []),
    `Unless the step says otherwise it ends after ${defaults.timeout}${program ? ' of run time' : ''}, and is tried`,
    attempts === 1 ? 'once.' : `up to ${attempts} times, first after ${first}.`,
    `\`adit steps ${signature.name}\` tells all about it.`,
  ].join(' ');
}

/** What the step type's own example gives for its inputs. */
function exampleInputs({ example }: StepSignature): { readonly [input: string]: Json } {
  const [step] = parseYaml(example, { version: '1.2', schema: 'core' }) as [
    { readonly with?: { readonly [input: string]: Json } },
  ];
  return step.with ?? {};
}
