import { mnemonicGenerate, mnemonicValidate } from '@polkadot/util-crypto';
import words from '@polkadot/util-crypto/mnemonic/wordlists/en';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { findMnemonicRanges, type TextRange } from './mnemonics.js';

const KNOWN = new Set(words);

/** Each stretch of words of the list with at most 16 other characters between two, as a text says it. */
function stretches(text: string): TextRange[][] {
  const found: TextRange[][] = [[]];
  for (const { 0: word, index } of text.matchAll(/[A-Za-z]+/g)) {
    const isKnown = KNOWN.has(word.toLowerCase());
    const before = found.at(-1)?.at(-1)?.end;
    if (!isKnown || (before !== undefined && index - before > 16)) found.push([]);
    if (isKnown) found.at(-1)?.push({ start: index, end: index + word.length });
  }
  return found;
}

/** By the library: from each word the longest mnemonic. */
function rangesOf(text: string): TextRange[] {
  return stretches(text).flatMap((stretch) =>
    stretch.flatMap(({ start }, first) => {
      const isValid = (length: number): boolean => {
        const mnemonic = stretch.slice(first, first + length);
        const said = mnemonic.map((word) => text.slice(word.start, word.end).toLowerCase());
        return said.length === length && mnemonicValidate(said.join(' '), undefined, true);
      };
      const length = [24, 21, 18, 15, 12].find(isValid);
      return length === undefined ? [] : [{ start, end: stretch[first + length - 1]?.end ?? 0 }];
    }),
  );
}

test('just what the library takes for a mnemonic is found, whatever stands around it', () => {
  const word = fc.oneof(
    { weight: 30, arbitrary: fc.constantFrom(...words) },
    { weight: 1, arbitrary: fc.constantFrom('x', 'extraordinary', 'hello', 'Zoo', 'ABANDON', 'é') },
  );
  const gap = fc.oneof(
    { weight: 30, arbitrary: fc.constantFrom(' ', '", "', '\n', '1', '[') },
    { weight: 1, arbitrary: fc.constantFrom('', 'İ', '\u212a') },
    { weight: 1, arbitrary: fc.string({ maxLength: 24 }) },
  );
  const around = fc
    .array(fc.tuple(word, gap), { maxLength: 40, size: 'max' })
    .map((parts) => parts.flat().join(''));
  const mnemonic = fc.constantFrom(
    ...([12, 15, 18, 21, 24] as const).map((length) => mnemonicGenerate(length, undefined, true)),
  );
  fc.assert(
    fc.property(around, mnemonic, around, (left, middle, right) => {
      const text = `${left}.${middle}.${right}`;
      const ranges = findMnemonicRanges(text);
      expect(ranges).toEqual(rangesOf(text));
      expect(ranges.some(({ start }) => start === left.length + 1)).toBe(true);
    }),
    { numRuns: 200 },
  );
}, 60_000);

test('at most sixteen other characters stand between two words of one mnemonic', () => {
  const parts = mnemonicGenerate(12, undefined, true).split(' ');
  expect(findMnemonicRanges(parts.join('-'.repeat(16)))).toHaveLength(1);
  expect(findMnemonicRanges(parts.join('-'.repeat(17)))).toEqual([]);
});

test.each([
  ['of words that nobody knows', 'true,null,'],
  ['of runs that are none', `${'zoo '.repeat(12)}foo `],
])(
  'eight megabytes %s are read to their end',
  (_what, piece) => {
    const mnemonic = mnemonicGenerate(24, undefined, true);
    const text = piece.repeat(Math.ceil(8_000_000 / piece.length));
    const ranges = findMnemonicRanges(`${text}.${mnemonic}`);
    expect(ranges.some(({ start }) => start === text.length + 1)).toBe(true);
  },
  60_000,
);
