/**
 * The canonical text of a request body (protocol 1.3): what Python writes for sorted keys, no blanks and ASCII
 * escaping. It is what is hashed, and also what is sent, so a server may hash either.
 */

export type BodyValue =
  | null
  | boolean
  | number
  | string
  | readonly BodyValue[]
  | { readonly [key: string]: BodyValue | undefined };

/**
 * Canonical JSON of a value. Members that are `undefined` are left out.
 * Throws on NaN and infinities, which cannot be signed.
 */
export function canonicalBody(value: BodyValue): string {
  if (value === null || typeof value === 'boolean') {
    return String(value);
  }
  if (typeof value === 'number') {
    return pythonNumber(value);
  }
  if (typeof value === 'string') {
    return asciiString(value);
  }
  if (isList(value)) {
    return `[${value.map(canonicalBody).join(',')}]`;
  }
  const members = Object.entries(value)
    .filter((member): member is [string, BodyValue] => member[1] !== undefined)
    .sort(([left], [right]) => compareCodePoints(left, right));
  return `{${members.map(([key, member]) => `${asciiString(key)}:${canonicalBody(member)}`).join(',')}}`;
}

function isList(value: object): value is readonly BodyValue[] {
  return Array.isArray(value);
}

/** Python's spelling of a number; whole values are written as integers. */
function pythonNumber(value: number): string {
  if (!Number.isFinite(value)) {
    throw new Error(`A body cannot hold the number ${value}: it has no JSON text to sign.`);
  }
  if (Number.isInteger(value)) {
    return String(value === 0 ? 0 : value);
  }
  const [mantissa = '', exponentText = '0'] = value.toExponential().split('e');
  const exponent = Number(exponentText);
  if (exponent >= -4 && exponent <= 15) {
    return positional(mantissa, exponent);
  }
  const digits = String(Math.abs(exponent)).padStart(2, '0');
  return `${mantissa}e${exponent < 0 ? '-' : '+'}${digits}`;
}

/** `d.ddd` times ten to the exponent, without an exponent. */
function positional(mantissa: string, exponent: number): string {
  const sign = mantissa.startsWith('-') ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  if (exponent < 0) {
    return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  }
  // Not whole, so there are digits on both sides of the point.
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}

function asciiString(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Python's order of strings. JavaScript's own compares UTF-16 units, which differs beyond U+FFFF. */
function compareCodePoints(left: string, right: string): number {
  const a = Array.from(left);
  const b = Array.from(right);
  for (let index = 0; index < Math.min(a.length, b.length); index += 1) {
    const difference = (a[index]?.codePointAt(0) ?? 0) - (b[index]?.codePointAt(0) ?? 0);
    if (difference !== 0) {
      return difference;
    }
  }
  return a.length - b.length;
}
