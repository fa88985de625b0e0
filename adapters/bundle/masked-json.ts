import type { Json } from '../../core/json.js';
import { SECRET_PATTERNS } from '../../core/secret-patterns.js';

/** Replaces, in whole texts, what must not be seen. */
export type Mask = (text: string) => string;

/** What stands in the place of a secret. */
export const MASK = '[masked]';

/**
 * Forms of secrets that mean nothing else. Left out is the digest-like one: beside the word `seed` it would take the
 * digest of a held-out file for a key, and the evidence would be gone.
 */
export const UNMISTAKABLE = SECRET_PATTERNS.filter(
  ([kind]) => kind !== 'seed or private key in hex',
).map(([, pattern]) => pattern);

/** `mask`, and besides everything that has the form of a token. */
export function withTokenForms(mask: Mask): Mask {
  return (text) =>
    UNMISTAKABLE.reduce((masked, pattern) => masked.replace(pattern, MASK), mask(text));
}

/** The value with each of its texts, names of members included, masked; the same one where nothing is. */
export function maskJson<T extends Json>(value: T, mask: Mask): T {
  // One look at all texts together: a mask reads its secrets anew each time.
  const texts: string[] = [];
  eachText(value, (text) => texts.push(text));
  const whole = texts.join('\n\u0001\n');
  return mask(whole) === whole ? value : (mapTexts(value, mask) as T);
}

function eachText(value: Json, visit: (text: string) => void): void {
  if (typeof value === 'string') visit(value);
  else if (Array.isArray(value)) for (const item of value) eachText(item, visit);
  else if (typeof value === 'object' && value !== null) {
    for (const [key, member] of Object.entries(value)) {
      visit(key);
      eachText(member, visit);
    }
  }
}

function mapTexts(value: Json, mask: Mask): Json {
  if (typeof value === 'string') return mask(value);
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, mask));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [mask(key), mapTexts(member, mask)]),
  );
}
