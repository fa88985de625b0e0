/**
 * Test files as JSON Schema, for editors: schema/test.schema.json. As that of pipelines it refuses nothing that the
 * checker accepts, and knows no names: which step gives which outputs only `adit check` can tell.
 */
import {
  CONDITION,
  described,
  NAME,
  ref,
  TEXT,
  VALUES,
  type Properties,
} from '../compiler/json-schema-parts.js';
import { VALUE_DEFINITIONS, type Schema } from '../compiler/json-schema-values.js';
import type { StepSignature } from '../compiler/step-signature.js';
import { STEP_ERRORS } from '../core/error.js';
import { SOMEBODY, type ANSWER_KEYS } from './approvals.js';
import {
  DEFAULT_NOW,
  MAX_TESTS,
  type TEST_FILE_KEYS,
  type TEST_KEYS,
} from './compile-test-file.js';
import type { DECISION_KEYS, OUTCOME_KEYS } from './outcomes.js';
import { outputProperties } from './schema-outputs.js';
import { DEFECT, stopsRun } from './step-codes.js';

const DURATION = VALUE_DEFINITIONS.duration;
const SENTENCE: Schema = { type: 'string', pattern: '\\S' };
const DIALECT = 'http://json-schema.org/draft-07/schema#';

/** The schema of test files. */
export function testSchema(signatures: readonly StepSignature[]): Schema {
  const outputs: Schema = {
    anyOf: [
      {
        type: 'object',
        properties: outputProperties(signatures),
        additionalProperties: false,
      },
      ref('expression'),
    ],
  };
  return {
    $schema: DIALECT,
    description: 'Tests of a pipeline of Adit.',
    type: 'object',
    properties: {
      pipeline: {
        description:
          'The pipeline file, from the folder of this one; `x.test.yaml` tests `x.yaml` without it.',
        ...SENTENCE,
        examples: ['./my-round.yaml'],
      },
      now: NOW,
      inputs: INPUTS,
      values: {
        description: 'Plain values that are written once, and read as `${{ values.name }}`.',
        type: ['object', 'null'],
        propertyNames: NAME,
      },
      steps: STEPS,
      decisions: DECISIONS,
      approvals: APPROVALS,
      tests: {
        description: 'The tests, each with a name and what to expect.',
        type: 'array',
        minItems: 1,
        maxItems: MAX_TESTS,
        items: ref('test'),
      },
    } satisfies Properties<(typeof TEST_FILE_KEYS)[number]>,
    required: ['tests'],
    additionalProperties: false,
    definitions: {
      ...VALUE_DEFINITIONS,
      test: TEST,
      outcome: outcomeSchema(outputs),
      decision: decisionSchema(outputs),
      answer: ANSWER,
    },
  };
}

/** What is said once, or in a list for one time after the other. */
function onceOrEach(name: string): Schema {
  return { anyOf: [ref(name), { type: 'array', minItems: 1, items: ref(name) }] };
}

const NOW: Schema = {
  description: 'When the run begins: ISO 8601 with a zone.',
  ...TEXT,
  default: DEFAULT_NOW,
};

const INPUTS = described(
  'Inputs of the pipeline; those of a test go before those of the file.',
  VALUES,
);

function bySteps(description: string, of: string, example: Schema): Schema {
  return {
    description,
    type: ['object', 'null'],
    additionalProperties: onceOrEach(of),
    examples: [example],
  };
}

const STEPS = bySteps(
  'What steps come to, by id or path: one outcome for every start, or a list for one after the other.',
  'outcome',
  { claim: { error: 'COORDINATOR_CONFLICT' } },
);
const DECISIONS = bySteps('What a person decides when a step is parked.', 'decision', {
  submit: 'retry',
});
const APPROVALS = bySteps('What people answer to approvals.', 'answer', {
  release: { approve: null, by: 'ann', after: '10m' },
});

const TEST: Schema = {
  type: 'object',
  properties: {
    name: { description: 'What is so, in a sentence; no other test has it.', ...SENTENCE },
    now: NOW,
    inputs: INPUTS,
    steps: STEPS,
    decisions: DECISIONS,
    approvals: APPROVALS,
    cancel: described('How long after its beginning the run is cancelled.', DURATION, {
      examples: ['2h'],
    }),
    expect: {
      description:
        'What must be so: CEL over `status`, `error`, `outputs`, `steps`, `inputs`, `ran`, `starts`, `states`, `order`, `seconds` and `shown`.',
      anyOf: [CONDITION, { type: 'array', minItems: 1, items: CONDITION }],
      examples: [["status == 'succeeded'", 'starts.claim == 1']],
    },
  } satisfies Properties<(typeof TEST_KEYS)[number]>,
  required: ['name', 'expect'],
  additionalProperties: false,
};

/** What one start of a step comes to: one of three ends. */
function outcomeSchema(outputs: Schema): Schema {
  const codes = [...Object.keys(STEP_ERRORS), DEFECT];
  const ofErrors = ['message', 'hint', 'retry_after', 'ask_for'];
  return {
    type: 'object',
    properties: {
      outputs: described(
        'What the step gives; an expression may read `values`, `input` and `start`.',
        outputs,
      ),
      error: {
        description: 'The code with which it ends.',
        type: 'string',
        enum: codes.filter((code) => !stopsRun(code)),
      },
      stop: {
        description: 'The code with which it stops the run: a decision, not a failure.',
        type: 'string',
        enum: codes.filter(stopsRun),
      },
      delay: described('How long it takes.', DURATION, { examples: ['5m'] }),
      message: { description: 'What happened, in place of a text of the test.', ...SENTENCE },
      hint: { description: 'The way out.', ...SENTENCE },
      retry_after: described('How long the other side asks to wait.', DURATION),
      ask_for: described('How long a person may be asked about it.', DURATION),
    } satisfies Properties<(typeof OUTCOME_KEYS)[number]>,
    additionalProperties: false,
    oneOf: [
      { required: ['outputs'], not: { anyOf: ofErrors.map((key) => ({ required: [key] })) } },
      { required: ['error'] },
      { required: ['stop'] },
    ],
  };
}

function decisionSchema(value: Schema): Schema {
  const word: Schema = { type: 'string', enum: ['retry', 'fail'] };
  return {
    anyOf: [
      word,
      {
        type: 'object',
        properties: {
          decide: described('The decision.', word),
          value: described('Outputs in place of those of the step.', value),
          after: described('How long the person takes.', DURATION, { examples: ['10m'] }),
        } satisfies Properties<(typeof DECISION_KEYS)[number]>,
        additionalProperties: false,
        oneOf: [{ required: ['decide'] }, { required: ['value'] }],
      },
    ],
  };
}

const ANSWER: Schema = {
  anyOf: [
    { type: 'string', enum: ['approve', 'reject'] },
    {
      type: 'object',
      properties: {
        approve: {
          description: 'Yes, with the fields that the approval asks for.',
          anyOf: [{ type: ['object', 'null'] }, ref('expression')],
        },
        reject: { description: 'No; the value is the reason.', type: ['string', 'null'] },
        by: { description: 'Who answers.', ...SENTENCE, default: SOMEBODY },
        after: described('How long after the answer before, or after it was asked.', DURATION),
        reason: { description: 'Why it is approved.', ...SENTENCE },
      } satisfies Properties<(typeof ANSWER_KEYS)[number]>,
      additionalProperties: false,
      oneOf: [{ required: ['approve'] }, { required: ['reject'], not: { required: ['reason'] } }],
    },
  ],
};
