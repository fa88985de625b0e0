import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { createMachine } from './machine.js';

it('counts the free bytes where a folder will lie', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-machine-'));
  expect(await createMachine().freeBytes(path.join(folder, 'not', 'yet'))).toBeGreaterThan(0);
  await rm(folder, { recursive: true });
});
