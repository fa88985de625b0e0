import type { Schema } from '../compiler/json-schema-values.js';
import { describeStep } from '../compiler/reference.js';
import type { StepSignature } from '../compiler/step-signature.js';

/**
 * Every output that a step type gives, by its name, with words: which step a name of the file means a schema cannot know,
 * so that values are any.
 */
export function outputProperties(signatures: readonly StepSignature[]): Schema {
  const words = new Map<string, string[]>();
  for (const signature of signatures) {
    for (const { name, type, summary } of describeStep(signature).outputs) {
      const told = words.get(name) ?? [];
      words.set(name, [...told, `\`${signature.name}\` (${type}): ${summary}`]);
    }
  }
  return Object.fromEntries(
    [...words].map(([name, told]) => [name, { description: told.join('\n\n') }]),
  );
}
