/** The language as JSON Schema definitions: a whole file, and what a step can be, by the keys that it has. */
import { NOTICE_EVENTS } from '../core/notice.js';
import {
  DURATION,
  STEPS,
  TEXT,
  NAME,
  TIMEOUT,
  ATTEMPT_TIMEOUT,
  HEARTBEAT,
  RETRY_OPTION,
  ON_FAILURE,
  FINALLY_TIMEOUT,
  DECLARATION,
  DECLARATIONS,
  described,
  ref,
  type Properties,
} from './json-schema-parts.js';
import { COMMON_PROPERTIES, kindSchemas } from './json-schema-steps.js';
import type { Schema } from './json-schema-values.js';
import type { DEFAULT_KEYS } from './parse-options.js';
import { PIPELINE_NAME, type PIPELINE_KEYS } from './parse.js';
import { KIND_KEYS, type Kind } from './step-kind.js';

/** What is said of one step type, by the schema of its `uses` and by rules for each. */
export interface StepTypeRules {
  readonly uses: Schema;
  readonly byType: readonly Schema[];
}

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
