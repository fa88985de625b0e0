import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
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
    const end = ends === 'asks' ? 'asks a person' : `ends as ${ends}`;
    expect(section).toMatch(new RegExp(`${end}\\.[*_]`, 'i'));
  },
);

/** The codes in the first column of the table of one `##` section. */
function codesOf(heading: string): string[] {
  const [section = ''] = (text.split(`\n## ${heading}\n`)[1] ?? '').split('\n## ');
  return [...section.matchAll(/^\| ((?:`[A-Z_]+` ?)+)/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([A-Z_]+)`/g)].map(([, code = '']) => code),
  );
}

test('its table of commands has every code that a command fails with', () => {
  const root = path.join(import.meta.dirname, '../..');
  const thrown = ['cli', 'adapters/temporal-server'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
      .flatMap((file) => {
        const source = readFileSync(path.join(root, folder, file), 'utf8');
        return [
          ...source.matchAll(
            /(?:CliFailure|TemporalServerError)\(\s*'([A-Z_]+)'|^ +code: '([A-Z_]+)'/gm,
          ),
        ].map(([, code, other]) => code ?? other ?? '');
      }),
  );
  expect(thrown.length).toBeGreaterThan(10);
  const documented = codesOf('Commands');
  expect([...new Set(thrown)].filter((code) => !documented.includes(code))).toEqual([]);
});
