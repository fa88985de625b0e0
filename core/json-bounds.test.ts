import { expect, it } from 'vitest';
import { measureJson } from './json-bounds.js';

const measure = (text: string) => measureJson(Buffer.from(text));

it('counts values, and none in a text', () => {
  expect(measure('{"a":[1,2],"b,[{":"\\"[[["}')).toEqual({ isTooDeep: false, values: 5 });
  expect(measure('1').values).toBe(1);
  expect(measure(`[${'{},'.repeat(99)}{}]`).values).toBeGreaterThanOrEqual(100);
});

it('tells what is nested too deeply, also where nothing is closed', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  expect(measure(nested(200)).isTooDeep).toBe(false);
  expect(measure(nested(201)).isTooDeep).toBe(true);
  expect(measure('{"a":'.repeat(5_000_000)).isTooDeep).toBe(true);
  expect(measure(`[${nested(1).concat(',').repeat(500)}0]`).isTooDeep).toBe(false);
});
