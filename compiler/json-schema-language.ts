/** The constructs of the language as JSON Schema definitions: keys and limits from the parser, words for each of them here. */
import { STEP_ERRORS } from '../core/error.js';
import { NOTICE_EVENTS } from '../core/notice.js';
import { VALUE_DEFINITIONS, type Schema } from './json-schema-values.js';
import { MAX_QUORUM } from './parse-approve.js';
import { RESERVED_IDS } from './parse-names.js';
import { MAX_GPUS, type DEFAULT_KEYS } from './parse-options.js';
import { MAX_ITERATIONS } from './parse-step.js';
import { PIPELINE_NAME, type PIPELINE_KEYS } from './parse.js';
import { NAME_PATTERN } from './read-map.js';
import { KIND_KEYS, type Kind, type KEYS } from './step-kind.js';
import { INPUT_TYPE_NAMES } from './types.js';

/** What is said of one step type, by the schema of its `uses` and by rules for each. */
export interface StepTypeRules {
  readonly uses: Schema;
  readonly byType: readonly Schema[];
}

type Properties<Key extends string> = { readonly [key in Key]: Schema };

/** What a whole file is, and every definition that it is made of. */
export function languageSchema(types: StepTypeRules): {
  readonly file: Schema;
  readonly definitions: { readonly [name: string]: Schema };
} {
  const kinds = kindSchemas(types.uses);
  const definitions = {
    step: anyStep(kinds, false),
    branch: anyStep(kinds, true),
    ...Object.fromEntries(kinds.map(([kind, schema]) => [nameOf(kind, false), schema])),
    ...Object.fromEntries(kinds.map((kind) => [nameOf(kind[0], true), toBranch(...kind)])),
    'step-types': { allOf: types.byType },
    needs: NEEDS,
    declaration: DECLARATION,
  };
  return { file: PIPELINE, definitions };
}

function nameOf(kind: Kind, mayNeed: boolean): string {
  return `${kind === 'step' ? 'uses' : kind}-${mayNeed ? 'branch' : 'step'}`;
}

function ref(name: string): Schema {
  return { $ref: `#/definitions/${name}` };
}

/** What stands beside a reference some readers take no notice of, so that words stand beside the schema itself. */
function described(description: string, schema: Schema, more: Schema = {}): Schema {
  return { description, ...schema, ...more };
}

const DURATION = VALUE_DEFINITIONS.duration;
const STEPS: Schema = { type: 'array', minItems: 1, items: ref('step') };
const TEXT: Schema = { type: 'string' };
const LIMIT: Schema = { type: 'integer', minimum: 1, maximum: MAX_ITERATIONS };

/** CEL; `true` and numbers are expressions too. */
const CONDITION: Schema = { type: ['string', 'number', 'boolean'], minLength: 1 };

const NAME: Schema = {
  type: 'string',
  pattern: NAME_PATTERN.source,
  patternErrorMessage:
    'A name is a word: letters, digits and `_`, not beginning with a digit, at most 64.',
};

const ID: Schema = {
  ...NAME,
  pattern: `^(?!(?:${RESERVED_IDS.join('|')})$)${NAME_PATTERN.source.slice(1)}`,
  patternErrorMessage: `${NAME['patternErrorMessage'] as string} Words with a meaning of their own are refused.`,
};

const CODES: Schema = {
  type: 'array',
  items: { type: 'string', enum: Object.keys(STEP_ERRORS) },
};

const VALUES: Schema = { type: ['object', 'null'] };

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

const SUMMARY: Schema = {
  description: 'A sentence for people: the terminal, the Temporal UI. It may hold expressions.',
  ...TEXT,
};

const TIMEOUT = described(
  'Time for the whole step, all attempts together; of a step that runs a program: its run time over all starts. Waiting for a person or a device never counts.',
  DURATION,
  { examples: ['7h'] },
);
const ATTEMPT_TIMEOUT = described(
  'Time for one attempt, of a program: run time of one start. One that has passed is tried again.',
  DURATION,
);
const HEARTBEAT = described('Longest silence of a worker before it counts as lost.', DURATION);
const RETRY_OPTION = described(
  'How often, and after which pauses, the step is tried again.',
  RETRY,
  { examples: [{ attempts: 5, first: '10s', most: '5m' }] },
);
const ON_FAILURE: Schema = {
  description: '`ask`: the step waits for a person when it would fail, whatever the code.',
  type: 'string',
  enum: ['fail', 'ask'],
  markdownEnumDescriptions: ['it fails', 'it waits for a person: `adit decide`'],
  default: 'fail',
};
const FINALLY_TIMEOUT = described('Time that a whole `finally` has, at most 30d.', DURATION, {
  default: '30m',
});

const DEFAULTS: Schema = {
  description: 'Options for every step that does not say otherwise.',
  type: 'object',
  properties: {
    timeout: TIMEOUT,
    attempt_timeout: ATTEMPT_TIMEOUT,
    heartbeat: HEARTBEAT,
    retry: RETRY_OPTION,
    on_failure: ON_FAILURE,
    finally_timeout: FINALLY_TIMEOUT,
  } satisfies Properties<(typeof DEFAULT_KEYS)[number]>,
  additionalProperties: false,
  examples: [{ timeout: '1h', retry: { attempts: 5 } }],
};

const DECLARATION: Schema = {
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

const DECLARATIONS: Schema = {
  type: ['object', 'null'],
  propertyNames: NAME,
  additionalProperties: ref('declaration'),
};

const PIPELINE: Schema = {
  type: 'object',
  properties: {
    pipeline: {
      description:
        'Its name: in run ids, in the Temporal UI. Lower-case letters, digits, `-` and `_`, at most 64.',
      type: 'string',
      pattern: PIPELINE_NAME.source,
      examples: ['frontier-round'],
    },
    summary: { description: 'What it does, in a sentence.', type: 'string', pattern: '\\S' },
    inputs: {
      description: 'What a run is given: `--input name=value`, read as `${{ inputs.name }}`.',
      ...DECLARATIONS,
      examples: [{ task: { type: 'string', summary: 'Slug of a live task.' } }],
    },
    defaults: DEFAULTS,
    deadline: described('Time that a whole run has, from `adit run` on, at most 365d.', DURATION, {
      examples: ['8h'],
    }),
    notify: {
      description: 'Events of its runs that hooks are told.',
      type: 'array',
      uniqueItems: true,
      items: { type: 'string', enum: [...NOTICE_EVENTS] },
      examples: [['parked', 'failed']],
    },
    steps: described('What it does: one step after the other.', STEPS),
    outputs: {
      description: 'What a run gives when all of its steps have ended well, by name.',
      type: ['object', 'null'],
      propertyNames: NAME,
      examples: [{ title: '${{ steps.discover.task.title }}' }],
    },
  } satisfies Properties<(typeof PIPELINE_KEYS)[number]>,
  required: ['pipeline', 'steps'],
  additionalProperties: false,
};

const COMMON_PROPERTIES: Properties<'id' | 'if'> = {
  id: described(
    'Its name in expressions and paths: letters, digits and `_`. A step that nothing refers to needs none.',
    ID,
  ),
  if: described(
    'An expression, without braces; when it is false the step is skipped, and has no outputs.',
    CONDITION,
    { examples: ['size(inputs.recipes) > 0'] },
  ),
};

const COLLECT = described(
  'An expression over the steps inside, once each time; `results` of the block lists its values.',
  CONDITION,
  { examples: ['steps.measured.candidate'] },
);

function fail(wait: string): Schema {
  return {
    description: 'What a failure does to the others.',
    type: 'string',
    enum: ['fast', 'wait'],
    markdownEnumDescriptions: ['the first failure ends the rest', wait],
    default: 'fast',
  };
}

/** Each thing that a step can be, with its keys. */
function kindSchemas(uses: Schema): (readonly [Kind, Schema])[] {
  const properties: { readonly [kind in Kind]: Properties<(typeof KEYS)[kind][number]> } = {
    step: {
      uses,
      // Its type has a better one.
      with: described('The inputs of its step type, each a value or an expression.', VALUES, {
        doNotSuggest: true,
      }),
      timeout: TIMEOUT,
      attempt_timeout: ATTEMPT_TIMEOUT,
      heartbeat: HEARTBEAT,
      retry: RETRY_OPTION,
      on: {
        description: 'What it needs of a machine; only for step types that run a program.',
        type: 'object',
        properties: {
          gpus: {
            description: 'Devices that its program leases, all or none.',
            type: 'integer',
            minimum: 1,
            maximum: MAX_GPUS,
          },
        },
        additionalProperties: false,
        examples: [{ gpus: 1 }],
      },
      on_failure: ON_FAILURE,
      summary: SUMMARY,
    },
    foreach: {
      foreach: described('A list: the steps run once for each of its items.', CONDITION, {
        examples: ['inputs.recipes'],
      }),
      as: described('Name of the item for the steps inside.', ID, { default: 'item' }),
      limit: { description: 'Most items at a time.', ...LIMIT, default: 1 },
      fail: fail('every item is tried; the block succeeds if one item did'),
      collect: COLLECT,
      steps: described('What happens to each item.', STEPS),
    },
    repeat: {
      repeat: {
        description: 'How often the steps run.',
        type: 'object',
        properties: {
          limit: { description: 'Most iterations.', ...LIMIT },
          every: described('Least time from one beginning to the next.', DURATION),
          until: described(
            'An expression over the steps inside, asked after each iteration; true ends the block.',
            CONDITION,
          ),
        },
        required: ['limit'],
        additionalProperties: false,
        examples: [{ limit: 60, every: '1m', until: 'steps.look.outputs.done' }],
      },
      as: described('Name of the number of the iteration, from 0.', ID),
      collect: COLLECT,
      steps: described('What is repeated.', STEPS),
    },
    parallel: {
      parallel: {
        description: 'Branches that start at once, but for what they need of each other.',
        type: 'array',
        minItems: 1,
        items: ref('branch'),
      },
      limit: { description: 'Most branches at a time; all when absent.', ...LIMIT },
      fail: fail('what can still run runs, and then the block fails'),
    },
    try: {
      try: described('Steps whose failure `catch` may take, and `finally` follows.', STEPS),
      catch: {
        description: 'The first clause that takes the code runs in place of the rest of `try`.',
        type: 'array',
        minItems: 1,
        items: {
          type: 'object',
          properties: {
            errors: described('The codes that it takes; all when absent.', CODES, {
              examples: [['PROGRAM_FAILED']],
              minItems: 1,
            }),
            as: described('Name of the error for the steps of the clause.', NAME, {
              default: 'error',
            }),
            steps: described('What happens then.', STEPS),
          },
          required: ['steps'],
          additionalProperties: false,
        },
      },
      finally: described(
        'Steps that run whatever happened: success, failure, stop or cancellation.',
        STEPS,
      ),
      finally_timeout: FINALLY_TIMEOUT,
    },
    if: {
      then: described('Steps that run when the condition is true.', STEPS),
      else: described('Steps that run when it is false.', STEPS),
    },
    approve: {
      approve: {
        description: 'Waits until people have approved: the question, or what they are shown.',
        anyOf: [
          { type: 'string', pattern: '\\S' },
          {
            type: 'object',
            properties: {
              summary: { description: 'The question.', ...TEXT },
              show: {
                description: 'What is approved, by name; answers are bound to its digest.',
                type: 'object',
                minProperties: 1,
                propertyNames: NAME,
              },
              fields: {
                description: 'What people answer besides yes or no, declared as inputs are.',
                ...DECLARATIONS,
                type: 'object',
                minProperties: 1,
              },
              expires: {
                description: 'How long an answer is waited for; without it, without end.',
                ...TEXT,
                examples: ['12h'],
              },
              quorum: {
                description: 'How many different people must approve.',
                type: 'integer',
                minimum: 1,
                maximum: MAX_QUORUM,
                default: 1,
              },
            },
            additionalProperties: false,
            anyOf: [{ required: ['show'] }, { required: ['summary'] }],
          },
        ],
        examples: [
          {
            summary: 'May this be submitted?',
            show: { patch: '${{ steps.patch.patch }}' },
            expires: '12h',
          },
        ],
      },
    },
    wait: {
      wait: {
        description: 'A pause: a duration, or `until` a time. No restart shortens or prolongs it.',
        anyOf: [
          { type: 'string', anyOf: [DURATION, ref('expression')] },
          {
            type: 'object',
            properties: {
              until: { description: 'ISO 8601 with a zone, or an expression.', ...TEXT },
            },
            required: ['until'],
            additionalProperties: false,
          },
        ],
        examples: ['15m'],
      },
    },
    stop: {
      stop: {
        description: 'Ends the run as stopped: a decision, not a failure.',
        type: 'object',
        properties: { reason: { description: 'Why, for the operator.', ...TEXT } },
        required: ['reason'],
        additionalProperties: false,
        examples: [{ reason: 'There is no recipe to try.' }],
      },
    },
    pipeline: {
      pipeline: {
        description:
          'The pipeline of another file, as one step; its outputs are those of the step.',
        type: 'string',
        pattern: '\\.ya?ml$',
        examples: ['./gate.yaml'],
      },
      with: described('Inputs, each a value or an expression.', VALUES),
      summary: SUMMARY,
    },
  };
  const required: { readonly [kind in Kind]: readonly string[] } = {
    step: ['uses'],
    foreach: ['foreach', 'steps'],
    repeat: ['repeat', 'steps'],
    parallel: ['parallel'],
    try: ['try'],
    if: ['if', 'then'],
    approve: ['approve'],
    wait: ['wait'],
    stop: ['stop'],
    pipeline: ['pipeline'],
  };
  const more: Partial<{ readonly [kind in Kind]: Schema }> = {
    step: ref('step-types'),
    try: { anyOf: [{ required: ['catch'] }, { required: ['finally'] }] },
  };
  return (Object.keys(properties) as Kind[]).map((kind) => [
    kind,
    {
      type: 'object',
      properties: { ...COMMON_PROPERTIES, ...properties[kind] },
      required: required[kind],
      additionalProperties: false,
      ...(more[kind] === undefined ? {} : { allOf: [more[kind]] }),
    },
  ]);
}

const NEEDS: Schema = {
  description: 'Branches beside it that must have ended well before it starts.',
  anyOf: [TEXT, { type: 'array', items: TEXT }],
  examples: [['build']],
};

/** The keys of a kind, as they are described there. */
function keysOf(kind: Kind, { properties }: Schema): Schema {
  return Object.fromEntries(
    Object.keys(properties as Schema).map((key) => [
      key,
      ref(`${nameOf(kind, false)}/properties/${key}`),
    ]),
  );
}

function toBranch(kind: Kind, schema: Schema): Schema {
  return { ...schema, properties: { ...keysOf(kind, schema), needs: ref('needs') } };
}

/** What a step is, its keys say; without such a key any of them may come. */
function anyStep(kinds: readonly (readonly [Kind, Schema])[], mayNeed: boolean): Schema {
  const keys = KIND_KEYS.filter(([key]) => key !== 'else');
  // Of the keys of blocks those that say what the block is: the others mean something else in each.
  const offered = kinds.flatMap(([kind, schema]) =>
    Object.entries(keysOf(kind, schema)).filter(
      ([key]) => kind === 'step' || kind === 'pipeline' || keys.some(([one]) => one === key),
    ),
  );
  const all: Schema = { ...COMMON_PROPERTIES, ...Object.fromEntries(offered) };
  return {
    type: 'object',
    allOf: [
      ...keys.map(([key, kind]) => ({
        if: { type: 'object', required: [key] },
        // oxlint-disable-next-line unicorn/no-thenable
        then: ref(nameOf(kind, mayNeed)),
      })),
      {
        if: { not: { type: 'object', anyOf: keys.map(([key]) => ({ required: [key] })) } },
        // oxlint-disable-next-line unicorn/no-thenable
        then: {
          properties: mayNeed ? { ...all, needs: ref('needs') } : all,
          additionalProperties: false,
          anyOf: keys.map(([key]) => ({ required: [key] })),
        },
      },
    ],
  };
}
