import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { createTextMask } from './text-mask.js';

const MNEMONIC = 'legal winner thank year wave sausage worth useful legal winner thank yellow';

it('masks what the files hold now, and every mnemonic', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-text-mask-'));
  const file = path.join(folder, 'token');
  const mask = createTextMask([null, path.join(folder, 'absent'), file]);
  expect(mask('tok-5up3r')).toBe('tok-5up3r');
  await writeFile(file, 'tok-5up3r\n');
  expect(mask('a tok-5up3r b tok-5up3r')).toBe('a [masked] b [masked]');
  expect(mask(`words: ${MNEMONIC}.`)).toBe('words: [masked].');
  await writeFile(file, 'abc');
  expect(mask('abc tok-5up3r')).toBe('abc tok-5up3r');
  await rm(folder, { recursive: true });
});
