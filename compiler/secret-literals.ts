/** Texts in a file that look like secrets: they are told, and shown nowhere. */
import { SECRET_PATTERNS } from '../core/secret-patterns.js';
import type { Diagnostics, Range } from './diagnostic.js';

export interface SecretLiteral {
  readonly kind: string;
  readonly range: Range;
}

/**
 * A whole value of 12 or 24 words as a mnemonic has them. Whether they are in its list of words is not looked up: a
 * sentence of just so many such words is rare.
 */
const MNEMONIC =
  /(?:[:\-,[{"'>|]\s{1,200}|["'])(?<words>(?:[a-z]{3,8}\s{1,40}){11}(?:(?:[a-z]{3,8}\s{1,40}){12})?[a-z]{3,8})(?=\s*(?:["',\]}#]|$|\n\s*(?:$|[-\w]+:|- )))/dg;

/** In the order of the file; where two overlap, the first. */
export function findSecretLiterals(text: string): readonly SecretLiteral[] {
  const found: SecretLiteral[] = SECRET_PATTERNS.flatMap(([kind, pattern]) =>
    [...text.matchAll(pattern)].map((match) => ({
      kind,
      range: { start: match.index, end: match.index + match[0].length },
    })),
  );
  for (const { indices } of text.matchAll(MNEMONIC)) {
    const [start, end] = indices?.groups?.['words'] ?? [0, 0];
    found.push({ kind: 'mnemonic', range: { start, end } });
  }
  let shownUpTo = 0;
  return found
    .toSorted((a, b) => a.range.start - b.range.start)
    .filter(({ range }) => {
      if (range.start < shownUpTo) return false;
      shownUpTo = range.end;
      return true;
    });
}

export function warnOfSecrets(diagnostics: Diagnostics): void {
  for (const { kind, range } of diagnostics.source.secrets) {
    diagnostics.warn(
      'SECRET_LITERAL',
      range,
      `this looks like a secret (${kind}); a pipeline file and the history of its runs are no place for one`,
      'let the program read it from a file of its machine; if it was ever shared, replace it',
    );
  }
}
