import { STEP_TYPES } from '../activities/registry.js';
import { pipelineSchema } from '../compiler/json-schema.js';
import type { Schema } from '../compiler/json-schema-values.js';
import { rehearsalSchema } from '../testing/rehearsal-schema.js';
import { testSchema } from '../testing/test-schema.js';
import { RULE_WORDS } from './rehearsal/rehearsal-file.js';

/** The schema of `schema/KIND.schema.json`. */
export function schemaOf(kind: 'pipeline' | 'test' | 'rehearse'): Schema {
  if (kind === 'test') return testSchema(STEP_TYPES);
  if (kind === 'rehearse') return rehearsalSchema(STEP_TYPES, RULE_WORDS);
  return pipelineSchema(STEP_TYPES);
}
