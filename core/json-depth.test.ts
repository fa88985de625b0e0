import { expect, test } from 'vitest';
import { isNestedTooDeeply } from './json-depth.js';

const nested = (depth: number): unknown =>
  JSON.parse(`${'[{"a":'.repeat(depth)}1${'}]'.repeat(depth)}`);

test('a value is too deep when recursion over it could fail', () => {
  for (const value of [null, 1, 'text', [], {}, [[]], nested(100)]) {
    expect(isNestedTooDeeply(value)).toBe(false);
  }
  expect(isNestedTooDeeply(nested(101))).toBe(true);
  const deepest = nested(50_000);
  expect(() => JSON.stringify(deepest)).toThrow(RangeError);
  expect(isNestedTooDeeply(deepest)).toBe(true);
});
