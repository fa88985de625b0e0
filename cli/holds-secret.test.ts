import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { holdsSecret } from './holds-secret.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-secret-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function holds(bytes: string | Buffer, secrets: readonly string[] = []): Promise<boolean> {
  const file = path.join(folder, 'file');
  await writeFile(file, bytes);
  return holdsSecret(file, Buffer.byteLength(bytes), secrets);
}

it.each([
  ['a known one', 'it is s3cret!', ['s3cret!'], true],
  ['a known one beyond ASCII', 'it is schlüssel', ['schlüssel'], true],
  ['a known one as JSON writes it', JSON.stringify({ a: 'it is pass"w\\d' }), ['pass"w\\d'], true],
  ['one that is too short to be one', 'abc', ['abc'], false],
  ['the form of a token', `token hf_${'a'.repeat(34)}`, [], true],
  [
    'a mnemonic',
    'legal winner thank year wave sausage worth useful legal winner thank yellow',
    [],
    true,
  ],
  ['a digest beside a seed', `{"seed": 1, "sha256": "${'0a'.repeat(32)}"}`, [], false],
  ['nothing', 'step 1 loss 2.3\n', ['s3cret!'], false],
])('finds %s', async (_what, text, secrets, found) => {
  expect(await holds(text, secrets)).toBe(found);
});

it('finds a known one in a large file, across the pieces that are read', async () => {
  const bytes = Buffer.alloc(65 * 1024 * 1024);
  expect(await holds(bytes, ['s3cret!'])).toBe(false);
  bytes.write('s3cret!', 4 * 1024 * 1024 - 3);
  expect(await holds(bytes, ['s3cret!'])).toBe(true);
});
