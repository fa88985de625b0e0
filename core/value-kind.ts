/** What a value must be where only the run knows its type: the kinds of an input, as plain JSON. */
import { isTimestamp, parseDuration } from './duration.js';
import { isJsonObject, type Json } from './json.js';

export type ValueKind =
  | 'string'
  | 'int'
  | 'number'
  | 'bool'
  | 'duration'
  | 'timestamp'
  /** A map whose members its reader checks. */
  | 'record'
  | { readonly list: ValueKind }
  | { readonly map: ValueKind }
  | { readonly oneOf: readonly string[] };

/** Where a value is not of its kind: a path such as `[2].name`, empty for the value itself; null when it is. */
export function findMisfit(value: Json, kind: ValueKind): string | null {
  if (typeof kind === 'string') return isOfKind(value, kind) ? null : '';
  if ('oneOf' in kind) return kind.oneOf.some((known) => known === value) ? null : '';
  if ('list' in kind) {
    if (!Array.isArray(value)) return '';
    return firstMisfit(value.map((item, at) => [`[${at}]`, item, kind.list] as const));
  }
  if (!isJsonObject(value)) return '';
  return firstMisfit(Object.entries(value).map(([key, item]) => [`.${key}`, item, kind.map]));
}

function firstMisfit(parts: ReadonlyArray<readonly [string, Json, ValueKind]>): string | null {
  for (const [place, value, kind] of parts) {
    const misfit = findMisfit(value, kind);
    if (misfit !== null) return `${place}${misfit}`;
  }
  return null;
}

/** True when a value is of a kind without parts. */
export function isOfKind(value: Json, kind: ValueKind & string): boolean {
  switch (kind) {
    case 'string':
      return typeof value === 'string';
    case 'int':
      return Number.isSafeInteger(value);
    case 'number':
      return typeof value === 'number' && Number.isFinite(value);
    case 'bool':
      return typeof value === 'boolean';
    case 'duration':
      return typeof value === 'string' && parseDuration(value) !== null;
    case 'timestamp':
      return typeof value === 'string' && isTimestamp(value);
    case 'record':
      return isJsonObject(value);
    default:
      return true;
  }
}

/** A kind for people: `list<int>`. */
export function printKind(kind: ValueKind): string {
  if (typeof kind === 'string') return kind;
  if ('oneOf' in kind) return `one of ${kind.oneOf.join(', ')}`;
  return 'list' in kind ? `list<${printKind(kind.list)}>` : `map<${printKind(kind.map)}>`;
}
