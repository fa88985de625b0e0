/** Each thing that a step can be, as JSON Schema: its keys, by the parser's tables, and words for each of them. */
import {
  DURATION,
  STEPS,
  TEXT,
  LIMIT,
  CONDITION,
  NAME,
  ID,
  CODES,
  VALUES,
  SUMMARY,
  TIMEOUT,
  ATTEMPT_TIMEOUT,
  HEARTBEAT,
  RETRY_OPTION,
  ON_FAILURE,
  FINALLY_TIMEOUT,
  DECLARATIONS,
  described,
  ref,
  type Properties,
} from './json-schema-parts.js';
import type { Schema } from './json-schema-values.js';
import { MAX_QUORUM } from './parse-approve.js';
import { MAX_GPUS } from './parse-options.js';
import type { KEYS, Kind } from './step-kind.js';

export const COMMON_PROPERTIES: Properties<'id' | 'if'> = {
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
export function kindSchemas(uses: Schema): (readonly [Kind, Schema])[] {
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
