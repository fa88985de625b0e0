import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { prepareRunDirectory, readExit, readSpec, runDirectory } from './run-directory.js';

const real = await vi.importActual<typeof fs>('node:fs/promises');
const mocked = vi.hoisted(() => ({ rm: vi.fn<typeof fs.rm>() }));
vi.mock('node:fs/promises', async (original) => ({
  ...(await original<typeof fs>()),
  rm: mocked.rm,
}));

test('a directory that a dying worker emptied in part holds no result', async () => {
  const stateDir = mkdtempSync(path.join(tmpdir(), 'adit-run-directory-'));
  const place = { runId: 'run-1', stepPath: 'trained', start: 1, scheduledAtMs: 1 };
  const directory = runDirectory(stateDir, place);
  mocked.rm.mockImplementation(real.rm);
  await prepareRunDirectory(directory, { argv: ['true'] });
  writeFileSync(path.join(directory.root, 'exit.json'), '{"code":143}');

  // The note that we ended it goes first, and then the worker is killed.
  mocked.rm.mockImplementation(async (file, options) => {
    if (options?.recursive !== true) return real.rm(file, options);
    await real.rm(path.join(directory.root, 'ending.json'));
    throw new Error('killed');
  });
  await expect(prepareRunDirectory(directory, { argv: ['true'] })).rejects.toThrow('killed');
  expect(await readExit(directory)).toEqual({ code: 143 });
  expect(await readSpec(directory)).toBeNull();
  rmSync(stateDir, { recursive: true });
});
