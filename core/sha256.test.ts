import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { sha256OfAscii } from './sha256.js';

const reference = (text: string): string => createHash('sha256').update(text).digest('hex');

test('gives what the system gives, at every length around the ends of its blocks', () => {
  for (let length = 0; length <= 260; length += 1) {
    const text = 'adit '.repeat(60).slice(0, length);
    expect(sha256OfAscii(text)).toBe(reference(text));
  }
});

test('gives what the system gives for any ASCII text', () => {
  const ascii = fc.string({
    unit: fc.integer({ min: 0, max: 0x7f }).map((code) => String.fromCharCode(code)),
    maxLength: 500,
  });
  fc.assert(fc.property(ascii, (text) => sha256OfAscii(text) === reference(text)));
});

test('takes a long text', () => {
  const text = 'x'.repeat(3_000_001);
  expect(sha256OfAscii(text)).toBe(reference(text));
});

test('refuses what is no ASCII: two texts must not share a digest', () => {
  expect(() => sha256OfAscii('aé')).toThrow(RangeError);
});
