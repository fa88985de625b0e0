import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand } from '../support/command.js';
import { followTutorial } from '../support/tutorial.js';

let folder: string;
const before = process.cwd();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-tutorial-'));
  process.chdir(folder);
});

afterAll(async () => {
  process.chdir(before);
  await rm(folder, { recursive: true, force: true });
});

it('the tutorial does what it says, step by step, as far as it needs no server', async () => {
  const run = (words: readonly string[]): ReturnType<typeof runCommand> => runCommand(...words);
  expect(await followTutorial({ folder, run, kinds: ['sh'] })).toBeGreaterThan(11);
});
