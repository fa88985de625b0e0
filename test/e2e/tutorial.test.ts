import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { adit } from '../support/cli.js';
import { followTutorial } from '../support/tutorial.js';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-e2e-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

it('the tutorial leads from an empty folder to a rehearsed pipeline', async () => {
  const stateDir = path.join(folder, '.state');
  const count = await followTutorial({
    folder,
    run: (words) => adit(words, { stateDir, cwd: folder }),
    kinds: ['sh', 'sh-local'],
  });
  expect(count).toBeGreaterThan(12);
}, 400_000);
