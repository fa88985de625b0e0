import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { writeHold } from '../adapters/evidence/effect-hold.js';
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

it.each(['.', 'dev', 'demo'])('tells held effects of the state folder %s', async (below) => {
  const found = async () => (await examine({})).find(({ name }) => name === 'effects');
  expect(await found()).toMatchObject({ level: 'ok', found: 'not held' });
  const stateDir = path.join(folder, 'state', below);
  await writeHold(stateDir, { by: 'me', reason: 'odd', since: '2026-11-21T10:00:00.000Z' });
  expect(await found()).toMatchObject({ level: 'note' });
  expect((await found())?.found).toContain(`${stateDir}: All effects are held by me`);
});

it('tells which hooks are set, and not where', async () => {
  const found = async () => (await examine({})).find(({ name }) => name === 'hooks');
  expect(await found()).toMatchObject({ level: 'note' });
  vi.stubEnv('ADIT_NOTIFY_URL', 'https://hooks.example/token');
  vi.stubEnv('ADIT_NOTIFY_COMMAND', '["tell", "token"]');
  vi.stubEnv('ADIT_NOTIFY_EVENTS', 'parked,failed');
  expect(await found()).toEqual({
    name: 'hooks',
    level: 'ok',
    found: 'a webhook, unsigned and the command tell: parked, failed',
    wayOut: '',
  });
});
