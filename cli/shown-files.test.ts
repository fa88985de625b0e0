import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createFolderStore } from '../adapters/store/store.js';
import { readShown, refsIn } from './shown-files.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-shown-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test('files are found in the values at any depth, and named by their way there', () => {
  const file = (digit: string) => {
    const sha256 = digit.repeat(64);
    return { uri: `store:${sha256}`, sha256, sizeBytes: 1 };
  };
  const show = {
    log: file('a'),
    patch: { file: file('b'), paths: ['x'] },
    many: [file('c'), { deep: file('d') }],
    other: { uri: 'https://example.org', sha256: 'a'.repeat(64), sizeBytes: 1 },
    text: 'store:x',
  };
  expect(refsIn(show).map(({ name }) => name)).toEqual([
    'log',
    'patch.file',
    'many[0]',
    'many[1].deep',
  ]);
});

test('a file is shown only when its bytes have its digest', async () => {
  const ref = await createFolderStore(path.join(folder, 'store')).putBytes('x'.repeat(100_000));
  const roots = [path.join(folder, 'other'), folder];
  const shown = await readShown({ name: 'log', ref }, roots);
  expect(shown.head.length).toBe(65_536);
  await writeFile(shown.file, `y${'x'.repeat(99_999)}`);
  await expect(readShown({ name: 'log', ref }, roots)).rejects.toMatchObject({
    code: 'FILE_CHANGED',
  });
  await writeFile(shown.file, 'short');
  await expect(readShown({ name: 'log', ref }, [folder])).rejects.toMatchObject({
    code: 'FILE_CHANGED',
  });
  await expect(
    readShown({ name: 'log', ref: { ...ref, sha256: '0'.repeat(64) } }, roots),
  ).rejects.toMatchObject({ code: 'FILE_MISSING' });
});
