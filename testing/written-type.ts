/** Types of what a test may write down: in a pipeline only steps make a Task or a PassVerdict, in a test their author does. */
import type { StepSignature } from '../compiler/step-signature.js';
import {
  ANY,
  fieldsOfSchema,
  parseType,
  type Field,
  type Fields,
  type Type,
} from '../compiler/types.js';
import { isJsonObject, type Json } from '../core/json.js';
import type { ActivityStep } from '../core/plan.js';

/** The type with every named value as the record that it is; a member that may be absent takes `null`. */
export function writtenType(type: Type): Type {
  switch (type.kind) {
    case 'list':
    case 'map':
    case 'nullable':
      return { kind: type.kind, of: writtenType(type.of) };
    case 'named':
      return { kind: 'record', label: type.name, fields: writtenFields(type.fields) };
    case 'record':
      return { ...type, fields: writtenFields(type.fields) };
    default:
      return type;
  }
}

function writtenFields(fields: Fields): Fields {
  return new Map<string, Field>(
    [...fields].map(([name, field]) => {
      const type = writtenType(field.type);
      return [name, { ...field, type: field.optional ? { kind: 'nullable', of: type } : type }];
    }),
  );
}

const known = {
  input: new WeakMap<StepSignature, Fields>(),
  output: new WeakMap<StepSignature, Fields>(),
};

/** Making them of a schema takes longer than all that is done with them. */
function fieldsOf(signature: StepSignature, io: 'input' | 'output'): Fields {
  const before = known[io].get(signature);
  if (before !== undefined) return before;
  const fields = fieldsOfSchema(signature[io], io, signature.name);
  known[io].set(signature, fields);
  return fields;
}

/** The outputs of a step as a test writes them, those that its author has declared among them. */
export function outputsType(step: ActivityStep, signature: StepSignature): Type {
  const fields = new Map(fieldsOf(signature, 'output'));
  const declared = declaredOutputs(step, signature);
  if (declared !== null) {
    const label = `${step.key}.${declared.name}`;
    fields.set(declared.name, {
      type: { kind: 'record', label, fields: declared.fields },
      optional: false,
      summary: '',
    });
  }
  return writtenType({ kind: 'record', label: `the outputs of ${signature.name}`, fields });
}

function declaredOutputs(
  step: ActivityStep,
  { typedOutput }: StepSignature,
): { readonly name: string; readonly fields: Fields } | null {
  if (typedOutput === undefined) return null;
  const template = step.with.find(([name]) => name === typedOutput)?.[1];
  const value = template?.t === 'value' ? template.value : null;
  const fields = new Map<string, Field>(
    Object.entries(isJsonObject(value) ? value : {}).map(([name, type]) => [
      name,
      { type: parseType(String(type)) ?? ANY, optional: false, summary: '' },
    ]),
  );
  return { name: typedOutput, fields };
}

/** The input of a step as expressions see it. */
export function inputType(signature: StepSignature): Type {
  return { kind: 'record', label: 'input', fields: fieldsOf(signature, 'input') };
}

/** True when the outputs of a step hold a verdict of the gate, which nobody can give by hand. */
export function holdsVerdict(signature: StepSignature): boolean {
  return typeHoldsVerdict({ kind: 'record', label: '', fields: fieldsOf(signature, 'output') });
}

/** The same of any value. */
export function typeHoldsVerdict(type: Type): boolean {
  if (type.kind === 'list' || type.kind === 'map' || type.kind === 'nullable')
    return typeHoldsVerdict(type.of);
  if (type.kind === 'named' && type.name === 'PassVerdict') return true;
  return (
    (type.kind === 'named' || type.kind === 'record') &&
    [...type.fields.values()].some((field) => typeHoldsVerdict(field.type))
  );
}

/** A value without the members that are `null` where the type lets them be absent. */
export function withoutAbsent(value: Json, type: Type): Json {
  if (type.kind === 'nullable') return withoutAbsent(value, type.of);
  if (Array.isArray(value))
    return type.kind === 'list' ? value.map((item) => withoutAbsent(item, type.of)) : value;
  if (!isJsonObject(value) || (type.kind !== 'record' && type.kind !== 'map')) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) => {
      const field = type.kind === 'record' ? type.fields.get(key) : undefined;
      if (member === null && field?.optional === true) return [];
      const inner = type.kind === 'map' ? type.of : field?.type;
      return [[key, inner === undefined ? member : withoutAbsent(member, inner)]];
    }),
  );
}

/** An example of the outputs, as one line of YAML: what to write for a step that a test says nothing about. */
export function exampleOutputs(type: Type): string {
  return example(type, 0);
}

function example(type: Type, depth: number): string {
  switch (type.kind) {
    case 'string':
      return '…';
    case 'int':
      return '1';
    case 'number':
      return '0.5';
    case 'bool':
      return 'true';
    case 'duration':
      return '15m';
    case 'timestamp':
      return "'2026-01-31T12:00:00Z'";
    case 'one_of':
      return type.values[0] ?? '…';
    case 'nullable':
      return example(type.of, depth);
    case 'list':
      return '[]';
    case 'map':
      return '{}';
    case 'record':
    case 'named': {
      // Deeper, a value is better written once and named; its type says which it is.
      if (depth > 1) return `'\${{ values.${type.kind === 'named' ? type.name : labelOf(type)} }}'`;
      const members = [...type.fields]
        .filter(([, field]) => !field.optional)
        .map(([name, field]) => `${name}: ${example(field.type, depth + 1)}`);
      return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`;
    }
    default:
      return '…';
  }
}

function labelOf({ label }: Type & { kind: 'record' }): string {
  const name = label.replaceAll(/\W+/g, '_');
  return name.charAt(0).toLowerCase() + name.slice(1);
}
