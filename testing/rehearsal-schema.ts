/** Rehearsal files as JSON Schema, for editors: schema/rehearse.schema.json; what the checker accepts it accepts. */
import {
  CONDITION,
  described,
  NAME,
  VALUES,
  type Properties,
} from '../compiler/json-schema-parts.js';
import { VALUE_DEFINITIONS, type Schema } from '../compiler/json-schema-values.js';
import type { StepSignature } from '../compiler/step-signature.js';
import { DEFAULT_LIMIT, type REHEARSAL_KEYS } from './rehearsal-file.js';
import type { RuleWords } from './rehearsal-rules.js';
import { outputProperties } from './schema-outputs.js';

/** The schema of rehearsal files. */
export function rehearsalSchema(signatures: readonly StepSignature[], words: RuleWords): Schema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    description: 'What a pipeline of Adit is rehearsed with.',
    type: 'object',
    properties: {
      inputs: described(
        'Inputs of the run, plain values; `${coordinator}` in a text is the address of the local coordinator.',
        VALUES,
        { examples: [{ task: 'tiny-ternary-frontier' }] },
      ),
      steps: {
        description:
          'Steps that are not played, by id or path, with the outputs that each would give.',
        type: ['object', 'null'],
        additionalProperties: { type: 'object', properties: outputProperties(signatures) },
        examples: [{ approval: {} }],
      },
      rules: {
        description:
          'What must be so after every run, by name: CEL over `status`, `error`, `outputs`, `inputs`, `ran`, `states`, `claims`, `submissions`, `effects`, `programs`, `counted` and `faults`.',
        type: ['object', 'null'],
        propertyNames: { ...NAME, not: { enum: [...words.rules] } },
        additionalProperties: CONDITION,
        examples: [{ claims_once: 'size(claims) <= 1' }],
      },
      limit: described('Longest time for one run, at most a day.', VALUE_DEFINITIONS.duration, {
        default: DEFAULT_LIMIT,
      }),
    } satisfies Properties<(typeof REHEARSAL_KEYS)[number]>,
    additionalProperties: false,
  };
}
