/** What constructs of the language are made of, as JSON Schema: names, durations, options of a step, declarations. */
import { STEP_ERRORS } from '../core/error.js';
import { VALUE_DEFINITIONS, type Schema } from './json-schema-values.js';
import { RESERVED_IDS } from './parse-names.js';
import { MAX_ITERATIONS } from './parse-step.js';
import { NAME_PATTERN } from './read-map.js';
import { INPUT_TYPE_NAMES } from './types.js';

/** Exactly these keys, each with its schema. */
export type Properties<Key extends string> = { readonly [key in Key]: Schema };

export function ref(name: string): Schema {
  return { $ref: `#/definitions/${name}` };
}

/** What stands beside a reference some readers take no notice of, so that words stand beside the schema itself. */
export function described(description: string, schema: Schema, more: Schema = {}): Schema {
  return { description, ...schema, ...more };
}

export const DURATION = VALUE_DEFINITIONS.duration;
export const STEPS: Schema = { type: 'array', minItems: 1, items: ref('step') };
export const TEXT: Schema = { type: 'string' };
export const LIMIT: Schema = { type: 'integer', minimum: 1, maximum: MAX_ITERATIONS };

/** CEL; `true` and numbers are expressions too. */
export const CONDITION: Schema = { type: ['string', 'number', 'boolean'], minLength: 1 };

export const NAME: Schema = {
  type: 'string',
  pattern: NAME_PATTERN.source,
  patternErrorMessage:
    'A name is a word: letters, digits and `_`, not beginning with a digit, at most 64.',
};

export const ID: Schema = {
  ...NAME,
  pattern: `^(?!(?:${RESERVED_IDS.join('|')})$)${NAME_PATTERN.source.slice(1)}`,
  patternErrorMessage: `${NAME['patternErrorMessage'] as string} Words with a meaning of their own are refused.`,
};

export const CODES: Schema = {
  type: 'array',
  items: { type: 'string', enum: Object.keys(STEP_ERRORS) },
};

export const VALUES: Schema = { type: ['object', 'null'] };

const RETRY: Schema = {
  type: 'object',
  properties: {
    attempts: {
      description: 'Attempts in all, the first one counted.',
      type: 'integer',
      minimum: 1,
      maximum: 100,
    },
    first: described('The pause before the second attempt.', DURATION),
    factor: {
      description: 'How many times as long each further pause is.',
      type: 'number',
      minimum: 1,
      maximum: 100,
    },
    most: described('The longest pause.', DURATION),
    never: described('Error codes after which it is not tried again.', CODES, {
      examples: [['PROGRAM_LOST']],
    }),
  },
  additionalProperties: false,
};

export const SUMMARY: Schema = {
  description: 'A sentence for people: the terminal, the Temporal UI. It may hold expressions.',
  ...TEXT,
};

export const TIMEOUT = described(
  'Time for the whole step, all attempts together; of a step that runs a program: its run time over all starts. Waiting for a person or a device never counts.',
  DURATION,
  { examples: ['7h'] },
);
export const ATTEMPT_TIMEOUT = described(
  'Time for one attempt, of a program: run time of one start. One that has passed is tried again.',
  DURATION,
);
export const HEARTBEAT = described(
  'Longest silence of a worker before it counts as lost.',
  DURATION,
);
export const RETRY_OPTION = described(
  'How often, and after which pauses, the step is tried again.',
  RETRY,
  { examples: [{ attempts: 5, first: '10s', most: '5m' }] },
);
export const ON_FAILURE: Schema = {
  description: '`ask`: the step waits for a person when it would fail, whatever the code.',
  type: 'string',
  enum: ['fail', 'ask'],
  markdownEnumDescriptions: ['it fails', 'it waits for a person: `adit decide`'],
  default: 'fail',
};
export const FINALLY_TIMEOUT = described(
  'Time that a whole `finally` has, at most 30d.',
  DURATION,
  {
    default: '30m',
  },
);

export const DECLARATION: Schema = {
  type: 'object',
  properties: {
    type: {
      description:
        'string, int, number, bool, duration, timestamp, list<T>, map<T> or a named value such as Recipe (docs/steps.md).',
      type: 'string',
      anyOf: [
        { enum: [...INPUT_TYPE_NAMES] },
        {
          pattern: `^\\s*(?:(?:list|map)\\s*<\\s*)*(?:${INPUT_TYPE_NAMES.join('|')})(?:\\s*>)*\\s*$`,
        },
      ],
      examples: ['list<Recipe>', 'map<string>'],
    },
    one_of: {
      description: 'The texts that it may be, in place of `type`.',
      type: 'array',
      minItems: 1,
      items: TEXT,
      examples: [['fast', 'careful']],
    },
    required: {
      description: '`false`: it may be absent; read it as `has(inputs.name) ? inputs.name : …`.',
      type: 'boolean',
    },
    default: { description: 'What it is when it is not given: a plain value of its type.' },
    summary: { description: 'What it is for, in a sentence.', type: 'string', pattern: '\\S' },
  },
  additionalProperties: false,
  oneOf: [{ required: ['type'] }, { required: ['one_of'] }],
};

export const DECLARATIONS: Schema = {
  type: ['object', 'null'],
  propertyNames: NAME,
  additionalProperties: ref('declaration'),
};
