import { expect, it } from 'vitest';
import { plainText } from './plain-text.js';

it('keeps text on one line and takes terminal escapes and direction marks out', () => {
  expect(plainText('a\u001b[31mred\u001b[0m\r\nb\u202ec\u0000')).toBe('a [31mred [0m bc');
});

it('cuts long text at its length and says so', () => {
  expect(plainText('x'.repeat(600))).toHaveLength(500);
  expect(plainText('abcdef', 4)).toBe('abc…');
});
