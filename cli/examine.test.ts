import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { examine } from './examine.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-examine-'));
  vi.stubEnv('ADIT_STATE_DIR', path.join(folder, 'state'));
  vi.stubEnv('ADIT_CACHE_DIR', path.join(folder, 'cache'));
  vi.stubEnv('TEMPORAL_ADDRESS', '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

it('looks for python3 where steps look for it, not on the PATH of whoever asks', async () => {
  const own = path.join(folder, 'python3');
  await writeFile(own, '#!/bin/sh\necho Python 3.99.0\n');
  await chmod(own, 0o755);
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
  const python = (await examine({})).find(({ name }) => name === 'python3');
  expect(python?.found).not.toContain('3.99.0');
});
