/**
 * JSON whose numbers keep their kind and digits.
 *
 * A Python client signs `1.0` and `1e16` as Python spells them, so a server that re-writes a body
 * before hashing must still know what was an integer and what was a float (protocol 1.3).
 */
import { LosslessNumber, isLosslessNumber, parse, stringify } from 'lossless-json';

/** A number as it was written: a JavaScript number where that spells it the same, else its text. */
export type JsonNumber = number | LosslessNumber;

/** CPython refuses to read integers with more digits than this. */
const MOST_INTEGER_DIGITS = 4_300;

/** A JSON text that Python's reader would refuse as well. */
export class JsonSyntaxError extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause });
    this.name = 'JsonSyntaxError';
  }
}

/**
 * Reads JSON and keeps the spelling of every number that JavaScript would write differently; the
 * last of several equal keys wins, as in Python. Throws JsonSyntaxError.
 */
export function parseJson(text: string): unknown {
  try {
    return parse(text, null, {
      parseNumber: (digits) =>
        String(Number(digits)) === digits ? Number(digits) : new LosslessNumber(digits),
      onDuplicateKey: ({ newValue }) => newValue,
    });
  } catch (error) {
    throw new JsonSyntaxError(error instanceof Error ? error.message : 'not JSON', error);
  }
}

/** Writes JSON; kept numbers are written as they were read, bigints as integers. */
export function writeJson(value: unknown): string {
  return stringify(value) ?? 'null';
}

export function isJsonNumber(value: unknown): value is JsonNumber {
  return typeof value === 'number' || isLosslessNumber(value);
}

/** The nearest JavaScript number; infinite when it is out of range. */
export function toNumber(value: JsonNumber): number {
  return typeof value === 'number' ? value : Number(value.value);
}

/**
 * A number's JSON text as Python's `repr` writes the value it reads from it: `1.0` stays `1.0`,
 * `1e16` becomes `1e+16`, integers keep all their digits. Throws RangeError for a number that
 * Python would read as infinite or refuse.
 */
export function pythonNumberText(text: string): string {
  if (/^-?\d+$/.test(text)) {
    if (text.length > MOST_INTEGER_DIGITS)
      throw new RangeError(`an integer of ${text.length} digits`);
    return BigInt(text).toString();
  }
  const value = Number(text);
  if (!Number.isFinite(value)) throw new RangeError(`the number ${text} is out of range`);
  const negative = value < 0 || Object.is(value, -0);
  const [mantissa = '0', exponentText = '0'] = Math.abs(value).toExponential().split('e');
  return (negative ? '-' : '') + pythonFloatText(mantissa.replace('.', ''), Number(exponentText));
}

/** `digits` are the shortest that round-trip, the point after the first one, times 10^exponent. */
function pythonFloatText(digits: string, exponent: number): string {
  if (exponent < -4 || exponent >= 16) {
    const fraction = digits.length > 1 ? `.${digits.slice(1)}` : '';
    const size = String(Math.abs(exponent)).padStart(2, '0');
    return `${digits[0] ?? '0'}${fraction}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${whole}.${digits.slice(exponent + 1) || '0'}`;
}
