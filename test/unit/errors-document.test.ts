import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { STEP_ERRORS } from '../../core/error.js';

const text = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
const sections = new Map(
  text
    .split(/^### /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('\n')), section] as const),
);

test('docs/errors.md has a section for every error code, and for no other', () => {
  expect([...sections.keys()].toSorted()).toEqual(Object.keys(STEP_ERRORS).toSorted());
});

test.each(Object.entries(STEP_ERRORS))(
  '%s is documented as it behaves',
  (code, { retryable, ends }) => {
    const section = sections.get(code) ?? '';
    expect(/[*_]Retried/.test(section)).toBe(retryable);
    expect(section).toMatch(new RegExp(`ends as ${ends}\\.[*_]`, 'i'));
  },
);
