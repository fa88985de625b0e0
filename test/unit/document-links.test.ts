/** What a document links to is there: the file, and in a document the heading. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const root = path.join(import.meta.dirname, '../..');
const documents = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(path.join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** Headings as GitHub makes addresses of them. */
function anchorsOf(file: string): Set<string> {
  const text = readFileSync(file, 'utf8').replaceAll(/^```.*?^```/gms, '');
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
  return new Set(headings);
}

it.each(documents)('%s', (document) => {
  const text = readFileSync(path.join(root, document), 'utf8').replaceAll(/^```.*?^```/gms, '');
  const broken = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].flatMap(
    ([link, target = '', anchor]) => {
      const file = target === '' ? document : path.join(path.dirname(document), target);
      const whole = path.join(root, file);
      if (!existsSync(whole)) return [link];
      return anchor === undefined || anchorsOf(whole).has(anchor) ? [] : [link];
    },
  );
  expect(broken).toEqual([]);
});
