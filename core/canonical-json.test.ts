import { readFileSync } from 'node:fs';
import { assert, jsonValue, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from './canonical-json.js';
import type { Json } from './json.js';

const vectors = JSON.parse(
  readFileSync(
    new URL('../test/fixtures/coordinator/generated-signing-vectors.json', import.meta.url),
    'utf8',
  ),
) as { number_text: { value_js: string; python_text: string }[] };

describe('canonicalJson', () => {
  it.each(vectors.number_text)('spells $value_js as Python does', ({ value_js, python_text }) => {
    expect(canonicalJson(Number.parseFloat(value_js))).toBe(python_text);
  });

  it.each([
    [-0, '0'],
    [1e21, '1e+21'],
    [-1.5e-7, '-1.5e-07'],
    [123456.789, '123456.789'],
    [-0.0001, '-0.0001'],
  ])('spells %s as %s', (value, text) => {
    expect(canonicalJson(value)).toBe(text);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses %s', (value) => {
    expect(() => canonicalJson({ value })).toThrow('is no JSON number');
  });

  it('leaves out a key without a value', () => {
    const value: { [key: string]: Json } = JSON.parse('{"a":1}');
    Object.assign(value, { b: undefined });
    expect(canonicalJson(value)).toBe('{"a":1}');
  });

  it('is plain ASCII, means the same value, and is its own canonical form', () => {
    assert(
      property(jsonValue(), (value) => {
        const text = canonicalJson(value as Json);
        expect(text).toMatch(/^[\x20-\x7e]*$/);
        expect(canonicalJson(JSON.parse(text) as Json)).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
