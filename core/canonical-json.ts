import type { Json } from './json.js';

/**
 * A JSON value as one text: keys sorted by code point, no blanks, ASCII only, numbers spelled as Python
 * spells them. The text is what a coordinator gets when it re-reads and re-writes it (protocol 1.3), and
 * it is the one to digest. A key whose value is undefined is left out. Throws RangeError for a number
 * that is not finite, TypeError for what is no JSON.
 */
export function canonicalJson(value: Json): string {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'number') return numberText(value);
  if (typeof value === 'string') return stringText(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object') throw new TypeError(`A ${typeof value} is no JSON value.`);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => compareCodePoints(a, b))
    .map(([key, member]) => `${stringText(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

/** Python's `repr`: positional from 0.0001 up, else scientific with two exponent digits at least. */
function numberText(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`${value} is no JSON number.`);
  if (value === 0) return '0';
  // Whole numbers, and from 1e21 up the exponent form, are spelled alike in both languages.
  if (Number.isInteger(value)) return String(value);
  const [digits = '', exponent = ''] = value.toExponential().split('e');
  if (Number(exponent) >= -4) return String(value);
  return `${digits}e-${exponent.slice(1).padStart(2, '0')}`;
}

function stringText(value: string): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** JavaScript sorts by UTF-16 unit, which puts characters beyond U+FFFF before U+E000. */
function compareCodePoints(a: string, b: string): number {
  const left = Array.from(a);
  const right = Array.from(b);
  for (let at = 0; at < left.length && at < right.length; at += 1) {
    const difference = (left[at]?.codePointAt(0) ?? 0) - (right[at]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
