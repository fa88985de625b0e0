/**
 * The canonical body text that a signature covers (protocol 1.3): what Python writes for sorted
 * keys, separators without blanks and ASCII escaping, from a value read by `parseJson`.
 */
import { isJsonNumber, pythonNumberText } from './json-numbers.js';

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** Canonical JSON text, pure ASCII. Throws RangeError for a number that Python cannot hold. */
export function canonicalJson(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'string') return quoted(value);
  if (isJsonNumber(value)) return pythonNumberText(String(value));
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object') throw new RangeError(`not a JSON value: ${typeof value}`);
  const members = Object.entries(value)
    .sort(([left], [right]) => compareCodePoints(left, right))
    .map(([key, member]) => `${quoted(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

function quoted(text: string): string {
  let written = '"';
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    const character = text.charAt(at);
    if (unit >= 0x20 && unit < 0x7f) written += SHORT_ESCAPES[character] ?? character;
    else written += SHORT_ESCAPES[character] ?? `\\u${unit.toString(16).padStart(4, '0')}`;
  }
  return `${written}"`;
}

/** Python orders text by code point; JavaScript's own order, by UTF-16 unit, differs above U+FFFF. */
function compareCodePoints(left: string, right: string): number {
  const a = Array.from(left, (character) => character.codePointAt(0) ?? 0);
  const b = Array.from(right, (character) => character.codePointAt(0) ?? 0);
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
