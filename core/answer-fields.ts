/** What a person answers besides yes or no: fields of plain types, as they stand in a Plan. */
import { canonicalJson } from './canonical-json.js';
import { jsonSizeBytes } from './json-size.js';
import { isJsonObject, type Json, type JsonObject } from './json.js';
import { isOfKind } from './value-kind.js';

/** A plain type: a person writes a value of it down. */
export type AnswerType =
  | { readonly kind: 'string' | 'int' | 'number' | 'bool' | 'duration' | 'timestamp' }
  | { readonly kind: 'one_of'; readonly values: readonly string[] }
  | { readonly kind: 'list' | 'map'; readonly of: AnswerType };

export interface AnswerField {
  readonly name: string;
  readonly type: AnswerType;
  /** What is asked, for people; may be empty. */
  readonly summary: string;
  /** An answer without it is refused; one that has a `default` takes that instead. */
  readonly required: boolean;
  readonly default?: Json;
}

/** Largest answer, as JSON text, in bytes: with the names of those who gave it, it fits into a step's outputs. */
const MAX_ANSWER_BYTES = 32 * 1024;

/** The whole answer, defaults included; or what is wrong with it, as a sentence. */
export function readFields(
  fields: readonly AnswerField[],
  given: unknown,
): { readonly values: JsonObject } | { readonly problem: string } {
  if (given !== undefined && !isJsonObject(given))
    return { problem: 'The fields of an answer are a map from names to values.' };
  const all = given ?? {};
  const unknown = Object.keys(all).find((name) => fields.every((field) => field.name !== name));
  if (unknown !== undefined) return { problem: `Nobody asked for a field \`${short(unknown)}\`.` };
  const values: JsonObject = {};
  for (const field of fields) {
    const { name, type } = field;
    const value = Object.hasOwn(all, name) ? all[name] : field.default;
    if (value === undefined) {
      if (field.required) return { problem: `The field \`${name}\` is missing.` };
      continue;
    }
    if (!isOfType(value, type))
      return {
        problem: `The field \`${name}\` takes ${printAnswerType(type)}, not ${describe(value)}.`,
      };
    values[name] = value;
  }
  const sizeBytes = jsonSizeBytes(values);
  if (sizeBytes > MAX_ANSWER_BYTES)
    return {
      problem: `The fields are ${sizeBytes} bytes; at most ${MAX_ANSWER_BYTES} may travel.`,
    };
  return { values };
}

/** What is asked for, in words: `note (string), count (int, optional)`. */
export function printFields(fields: readonly AnswerField[]): string {
  return fields
    .map(({ name, type, required }) => {
      const optional = required ? '' : ', optional';
      return `${name} (${printAnswerType(type)}${optional})`;
    })
    .join(', ');
}

function printAnswerType(type: AnswerType): string {
  switch (type.kind) {
    case 'one_of':
      return `one of ${type.values.map((value) => JSON.stringify(value)).join(', ')}`;
    case 'list':
    case 'map':
      return `${type.kind}<${printAnswerType(type.of)}>`;
    default:
      return type.kind;
  }
}

function isOfType(value: Json, type: AnswerType): boolean {
  switch (type.kind) {
    case 'one_of':
      return type.values.some((known) => known === value);
    case 'list':
      return Array.isArray(value) && value.every((item) => isOfType(item, type.of));
    case 'map':
      return isJsonObject(value) && Object.values(value).every((item) => isOfType(item, type.of));
    default:
      return isOfKind(value, type.kind);
  }
}

function describe(value: Json): string {
  return `\`${short(JSON.stringify(value))}\``;
}

function short(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`;
}

/** True when two answers say the same. */
export function isSameAnswer(left: JsonObject, right: JsonObject): boolean {
  return canonicalJson(left) === canonicalJson(right);
}
