/**
 * The types that the checker computes with. They come from the zod schemas of values and step types, by way of JSON
 * Schema, so that a fact is written once; a schema with an `id` is a nominal type.
 *
 * Invariants:
 * 1. Two named types are the same only if their names are: equal shape is not enough.
 * 2. Only the types of `WRITABLE` can be written down; every other named value is made by a step.
 * 3. `unknown` is the type of what is already reported: it fits everything, so that one mistake is told once.
 */
import { z } from 'zod';
import { VALUES } from './values.js';

export type Type =
  | { readonly kind: Scalar | 'any' | 'null' | 'unknown' }
  /** `label` is what messages say in place of all the values. `written`: nobody declared it, texts are written so. */
  | {
      readonly kind: 'one_of';
      readonly values: readonly string[];
      readonly label?: string;
      readonly written?: true;
    }
  | { readonly kind: 'list'; readonly of: Type }
  | { readonly kind: 'map'; readonly of: Type }
  /** `label` names an anonymous record in messages and inside the CEL library. */
  | { readonly kind: 'record'; readonly label: string; readonly fields: Fields }
  | { readonly kind: 'named'; readonly name: string; readonly fields: Fields }
  /** A value or null: what `has(a.b) ? a.b : null` gives; only an optional input takes it. */
  | { readonly kind: 'nullable'; readonly of: Type };

type Scalar = 'string' | 'int' | 'number' | 'bool' | 'duration' | 'timestamp';

export interface Field {
  readonly type: Type;
  /** The value may lack it; then reading it needs `has(...)`. */
  readonly optional: boolean;
  readonly summary: string;
  /** What an input is when it is not given. */
  readonly default?: unknown;
}

export type Fields = ReadonlyMap<string, Field>;

const SCALARS: readonly Scalar[] = ['string', 'int', 'number', 'bool', 'duration', 'timestamp'];

export const ANY: Type = { kind: 'any' };
export const UNKNOWN: Type = { kind: 'unknown' };
export const NULL: Type = { kind: 'null' };
export const STRING: Type = { kind: 'string' };
export const INT: Type = { kind: 'int' };
export const NUMBER: Type = { kind: 'number' };
export const BOOL: Type = { kind: 'bool' };

/** Named values that an author may write down in a file or give as an input of another type. */
const WRITABLE: ReadonlySet<string> = new Set(['Edit', 'Recipe']);

/** True when a literal, or a value of no known type, may stand for this named type. */
export function isWritable(name: string): boolean {
  return WRITABLE.has(name);
}

/** A verdict is proof that the gate passed, so no run may be handed one. */
const NOT_AN_INPUT: ReadonlySet<string> = new Set(['PassVerdict']);

/** Names of types that an input can have, for messages. */
export const INPUT_TYPE_NAMES: readonly string[] = [
  ...SCALARS,
  ...Object.keys(VALUES).filter((name) => !NOT_AN_INPUT.has(name)),
];

/** Longest type, in characters: one that is nested deeper is not read. */
const MAX_TYPE_LENGTH = 300;

/** A type as authors write it, `list<Recipe>`; null when it is not one. */
export function parseType(text: string): Type | null {
  const trimmed = text.trim();
  if (trimmed.length > MAX_TYPE_LENGTH) return null;
  const generic = /^(list|map)\s*<(.+)>$/.exec(trimmed);
  if (generic !== null) {
    const of = parseType(generic[2] ?? '');
    return of === null ? null : { kind: generic[1] === 'list' ? 'list' : 'map', of };
  }
  const scalar = SCALARS.find((name) => name === trimmed);
  if (scalar !== undefined) return { kind: scalar };
  return NOT_AN_INPUT.has(trimmed) ? null : (namedTypes().get(trimmed) ?? null);
}

/** A type as authors write it. */
export function printType(type: Type): string {
  switch (type.kind) {
    case 'one_of': {
      const values = type.values.map((value) => JSON.stringify(value)).join(', ');
      return type.label ?? (type.values.length === 1 ? values : `one of ${values}`);
    }
    case 'list':
    case 'map':
      return `${type.kind}<${printType(type.of)}>`;
    case 'record':
      if (type.fields.size === 0) return 'an empty record';
      return `{ ${[...type.fields].map(([name, { optional }]) => (optional ? `${name}?` : name)).join(', ')} }`;
    case 'named':
      return type.name;
    case 'nullable':
      return `${printType(type.of)} or null`;
    default:
      return type.kind;
  }
}

/** True when a value of type `from` may stand where `to` is needed. */
export function isAssignable(from: Type, to: Type): boolean {
  if (from.kind === 'unknown' || to.kind === 'unknown' || to.kind === 'any') return true;
  if (to.kind === 'nullable') {
    return from.kind === 'null' || isAssignable(from.kind === 'nullable' ? from.of : from, to.of);
  }
  if (from.kind === 'any') return to.kind !== 'named' || isWritable(to.name);
  switch (to.kind) {
    case 'number':
      return from.kind === 'int' || from.kind === 'number';
    case 'string':
      return ['string', 'one_of', 'duration', 'timestamp'].includes(from.kind);
    case 'one_of':
      return from.kind === 'one_of' && from.values.every((value) => to.values.includes(value));
    case 'list':
      return from.kind === 'list' && isAssignable(from.of, to.of);
    case 'map':
      if (from.kind === 'map') return isAssignable(from.of, to.of);
      return (
        (from.kind === 'record' || from.kind === 'named') &&
        [...from.fields.values()].every((field) => isAssignable(field.type, to.of))
      );
    case 'named':
      if (from.kind === 'named') return from.name === to.name;
      return from.kind === 'record' && isWritable(to.name) && hasFields(from.fields, to.fields);
    case 'record':
      return (from.kind === 'record' || from.kind === 'named') && hasFields(from.fields, to.fields);
    default:
      return from.kind === to.kind;
  }
}

function hasFields(from: Fields, to: Fields): boolean {
  return [...to].every(([name, field]) => {
    const given = from.get(name);
    if (given === undefined) return field.optional;
    return (field.optional || !given.optional) && isAssignable(given.type, field.type);
  });
}

/** Most words of an enumeration that nobody has declared: beyond it is a text like any other. */
const MAX_WORDS = 50;

/** The least type that values of both have; null where there is none but `any`. */
export function joinTypes(a: Type, b: Type): Type | null {
  if (a.kind === 'unknown' || b.kind === 'unknown') return UNKNOWN;
  if (a.kind === 'any' || b.kind === 'any') return null;
  if (a.kind === 'null') return orNull(b);
  if (b.kind === 'null') return orNull(a);
  if (a.kind === 'nullable' || b.kind === 'nullable') {
    const of = joinTypes(a.kind === 'nullable' ? a.of : a, b.kind === 'nullable' ? b.of : b);
    return of === null ? null : orNull(of);
  }
  if (isAssignable(a, b)) return b;
  if (isAssignable(b, a)) return a;
  if (a.kind === 'one_of' && b.kind === 'one_of') {
    const of = wordsType([...a.values, ...b.values]);
    return of.kind !== 'one_of' || (a.written && b.written)
      ? of
      : { kind: 'one_of', values: of.values };
  }
  if ((a.kind === 'list' && b.kind === 'list') || (a.kind === 'map' && b.kind === 'map')) {
    const of = joinTypes(a.of, b.of);
    return of === null ? null : { kind: a.kind, of };
  }
  return null;
}

/** The type of what is one of these texts. */
export function wordsType(words: readonly string[]): Type {
  const values = [...new Set(words)];
  return values.length > MAX_WORDS ? STRING : { kind: 'one_of', values, written: true };
}

function orNull(of: Type): Type {
  return of.kind === 'nullable' || of.kind === 'null' ? of : { kind: 'nullable', of };
}

/** True when a value can stand inside a text. */
export function isTextual(type: Type): boolean {
  return (
    type.kind === 'any' ||
    type.kind === 'unknown' ||
    type.kind === 'one_of' ||
    SCALARS.some((scalar) => scalar === type.kind)
  );
}

/** Members of a value of this type; null when it is not a record. */
export function fieldsOf(type: Type): Fields | null {
  return type.kind === 'record' || type.kind === 'named' ? type.fields : null;
}

/** The inputs or outputs of a step type as fields. `label` names them in messages. */
export function fieldsOfSchema(schema: z.ZodObject, io: 'input' | 'output', label: string): Fields {
  const json = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as JsonSchema;
  return toFields(json, label, (name) => toNamed(name, json));
}

interface JsonSchema {
  readonly type?: unknown;
  readonly $ref?: string;
  readonly $defs?: { readonly [name: string]: JsonSchema };
  readonly properties?: { readonly [name: string]: JsonSchema };
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly description?: string;
  readonly default?: unknown;
}

type Resolve = (name: string) => Type;

let valueTypes: ReadonlyMap<string, Type> | null = null;

/** Every value of `VALUES` as a type. */
function namedTypes(): ReadonlyMap<string, Type> {
  if (valueTypes !== null) return valueTypes;
  const json = z.toJSONSchema(z.object(VALUES), {
    io: 'output',
    unrepresentable: 'any',
  }) as JsonSchema;
  const types = new Map<string, Type>();
  const resolve: Resolve = (name) => {
    const known = types.get(name);
    if (known !== undefined) return known;
    const type = toType(json.$defs?.[name] ?? {}, name, resolve, name);
    types.set(name, type);
    return type;
  };
  for (const name of Object.keys(VALUES)) resolve(name);
  valueTypes = types;
  return types;
}

function toNamed(name: string, json: JsonSchema): Type {
  const known = namedTypes().get(name);
  if (known !== undefined) return known;
  const resolve: Resolve = (inner) => (inner === name ? ANY : toNamed(inner, json));
  return toType(json.$defs?.[name] ?? {}, name, resolve, name);
}

function toType(schema: JsonSchema, label: string, resolve: Resolve, id?: string): Type {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace('#/$defs/', '');
    // Names that zod makes up stand for schemas without an id; the only one in use is "any JSON".
    return name.startsWith('__') ? ANY : resolve(name);
  }
  if (id === 'duration' || id === 'timestamp') return { kind: id };
  if (typeof schema.const === 'string') return { kind: 'one_of', values: [schema.const] };
  if (schema.enum?.every((value) => typeof value === 'string') === true) {
    return { kind: 'one_of', values: schema.enum };
  }
  switch (schema.type) {
    case 'string':
      return STRING;
    case 'integer':
      return INT;
    case 'number':
      return NUMBER;
    case 'boolean':
      return BOOL;
    case 'null':
      return NULL;
    case 'array':
      return { kind: 'list', of: toType(schema.items ?? {}, `${label}.item`, resolve) };
    case 'object': {
      if (schema.properties === undefined) {
        const { additionalProperties } = schema;
        const of = typeof additionalProperties === 'object' ? additionalProperties : {};
        return { kind: 'map', of: toType(of, `${label}.value`, resolve) };
      }
      const fields = toFields(schema, label, resolve);
      return id === undefined
        ? { kind: 'record', label, fields }
        : { kind: 'named', name: id, fields };
    }
    default:
      return ANY;
  }
}

function toFields(schema: JsonSchema, label: string, resolve: Resolve): Fields {
  const fields = new Map<string, Field>();
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    fields.set(name, {
      type: toType(property, `${label}.${name}`, resolve),
      optional: !(schema.required ?? []).includes(name),
      summary: property.description ?? '',
      ...(property.default === undefined ? {} : { default: property.default }),
    });
  }
  return fields;
}
