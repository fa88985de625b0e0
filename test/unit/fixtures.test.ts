import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ours = fileURLToPath(new URL('../fixtures', import.meta.url));
const theirs = fileURLToPath(new URL('../../../shared/fixtures', import.meta.url));

const digest = (file: string): string =>
  createHash('sha256').update(readFileSync(file)).digest('hex');

const files = ['coordinator', 'merkle'].flatMap((folder) =>
  readdirSync(path.join(ours, folder)).map((name) => path.join(folder, name)),
);

describe('the copied fixtures', () => {
  test('are all there', () => {
    expect(files.length).toBeGreaterThanOrEqual(8);
  });

  test.runIf(existsSync(theirs)).each(files)('%s equals its original', (file) => {
    expect(digest(path.join(ours, file))).toBe(digest(path.join(theirs, file)));
  });
});
