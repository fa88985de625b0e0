import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { demoInputs, DEMO_TASKS } from './demo-inputs.js';
import { childEnvironment } from './local-services.js';
import { lockServices } from './lock-services.js';
import { findPackage } from '../adapters/package/find-package.js';
import { createRunId, timeOfRunId } from './run-id.js';

let stateDir: string;

beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-services-'));
});

afterEach(() => rm(stateDir, { recursive: true, force: true }));

describe('the services of `adit dev` and `adit demo`', () => {
  it('are started once per state folder', () => {
    const release = lockServices(stateDir, 'dev');
    expect(() => lockServices(stateDir, 'dev')).toThrow(
      `\`adit dev\` is already running here (process ${process.pid}).`,
    );
    lockServices(stateDir, 'demo')();
    release();
    lockServices(stateDir, 'dev')();
  });

  it('are not kept back by a command that was killed', async () => {
    lockServices(stateDir, 'dev')();
    await writeFile(
      path.join(stateDir, 'dev', 'lock.json'),
      JSON.stringify({ pid: process.pid, birth: 'another' }),
    );
    lockServices(stateDir, 'dev')();
  });

  it("never see the user's own network", () => {
    const env = {
      PATH: '/bin',
      ADIT_HOTKEY_FILE: '/keys/mine',
      ADIT_CONFIG: '/mine.yaml',
      ADIT_CACHE_DIR: '/cache',
    };
    expect(childEnvironment(env, { ADIT_HOTKEY_FILE: '/devnet/miner' })).toEqual({
      PATH: '/bin',
      ADIT_CACHE_DIR: '/cache',
      ADIT_HOTKEY_FILE: '/devnet/miner',
    });
  });
});

it.each(DEMO_TASKS)(
  'the recipes of the demo fit the repository of %s: each text to find is there once',
  async (task) => {
    const repository = path.join(findPackage().root, 'devnet/repositories/tiny-ternary-frontier');
    const { recipes } = demoInputs(task) as {
      recipes: { edits: { path: string; find: string }[] }[];
    };
    expect(recipes.length).toBeGreaterThan(1);
    for (const edit of recipes.flatMap(({ edits }) => edits)) {
      const text = await readFile(path.join(repository, edit.path), 'utf8');
      expect(text.split(edit.find)).toHaveLength(2);
    }
  },
);

it('a run id names pipeline and time, and two runs of one second differ', () => {
  const now = new Date('2026-11-21T10:15:07.999Z');
  const ids = new Set(Array.from({ length: 20 }, () => createRunId('frontier-round', now)));
  expect(ids.size).toBeGreaterThan(15);
  for (const id of ids) {
    expect(id).toMatch(/^frontier-round-20261121-101507-[a-z2-7]{4}$/);
    expect(timeOfRunId(id)).toBe('2026-11-21T10:15:07.000Z');
  }
  expect(timeOfRunId('by-hand')).toBeNull();
});
