import { copyFile, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { adit, type CliResult } from '../support/cli.js';
import { PACKAGE_ROOT } from '../support/local-network.js';

const BLIND = path.join(PACKAGE_ROOT, 'pipelines', 'bad', 'blind-repeat.yaml');
const ROUTE = 'coordinator:POST:/effects/:name:1';

/** Of a test that plays several runs, each with a network of its own. */
const LONG_MS = 400_000;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-e2e-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

const rehearse = (file: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<CliResult> =>
  adit(['rehearse', file, ...args, '--json'], { stateDir: path.join(folder, 'state'), env });

test(
  'a command that acts blindly is caught, by a rule of its author too, and the one fault of two that shows it is told',
  async () => {
    const lost = `drop_reply@reply:${ROUTE}`;
    const file = path.join(folder, 'blind.yaml');
    await copyFile(BLIND, file);
    const rules = 'rules:\n  done_once: counted.all(c, c.times <= 1)\n  begun: ran.act\n';
    const inputs = await readFile(BLIND.replace('.yaml', '.rehearse.yaml'), 'utf8');
    await writeFile(path.join(folder, 'blind.rehearse.yaml'), `${inputs}${rules}`);
    const schedule = `${lost}+kill_worker@record:ended:act:1`;
    const { exitCode, stdout } = await rehearse(file, ['--replay', schedule]);
    const found = JSON.parse(stdout) as { runs: object[]; failures: object[] };
    expect(found.runs, stdout).toEqual([
      expect.objectContaining({
        schedule,
        verdict: 'wrong',
        violations: [
          { rule: 'acts_once', message: '`paid` was done 2 times.' },
          {
            rule: 'done_once',
            message: expect.stringMatching(/^It is not so that .*"times":2/) as string,
          },
        ],
      }),
    ]);
    expect(found.failures).toMatchObject([{ schedule, shortest: lost }]);
    expect(exitCode).toBe(1);
  },
  LONG_MS,
);

test(
  'a worker that is killed right at a record is survived',
  async () => {
    const { exitCode, stdout } = await rehearse(BLIND, [
      '--replay',
      'kill_worker@record:ended:act:1',
    ]);
    const found = JSON.parse(stdout) as { boundaries: string[] };
    expect(found).toMatchObject({ runs: [{ verdict: 'right' }], failures: [] });
    expect(found.boundaries).toEqual(
      expect.arrayContaining(['record:program:act:1', 'record:ended:act:1']),
    );
    expect(exitCode).toBe(0);
  },
  LONG_MS,
);

test('settings of a real network are refused, and nothing is started', async () => {
  const { exitCode, stdout } = await rehearse(BLIND, [], {
    ADIT_COORDINATOR_URL: 'https://coordinator.example.org',
    ADIT_HOTKEY_FILE: '/nowhere/hotkey',
  });
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'REHEARSAL_REFUSED' } });
  expect(exitCode).toBe(2);
});

test('without a rehearsal file one is written, and nothing is played', async () => {
  const file = path.join(folder, 'round.yaml');
  await copyFile(path.join(PACKAGE_ROOT, 'pipelines', 'frontier-round.yaml'), file);
  const { exitCode, stdout } = await rehearse(file, []);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'REHEARSAL_FILE_MISSING' } });
  expect(exitCode).toBe(2);
  const written = await readFile(path.join(folder, 'round.rehearse.yaml'), 'utf8');
  expect(written).toContain('  task: tiny-ternary-frontier');
  expect(written).toContain('--profile fast');
});

test('a mistake in the rehearsal file is told at its place, and nothing is started', async () => {
  const file = path.join(folder, 'wrong.yaml');
  await copyFile(BLIND, file);
  await writeFile(
    path.join(folder, 'wrong.rehearse.yaml'),
    "inputs: { address: '${coordinator}' }\nrules: { a: size(clams) == 1 }\n",
  );
  const { exitCode, stdout } = await rehearse(file, []);
  expect(JSON.parse(stdout)).toMatchObject({
    error: {
      code: 'REHEARSAL_INVALID',
      message: expect.stringMatching(
        /wrong\.rehearse\.yaml:2:18: .*\n.*\n.*\n.*`claims`/,
      ) as string,
    },
  });
  expect(exitCode).toBe(2);
});

test.each([
  ['--replay', 'drop_it@record:ended:a:1'],
  ['--jobs', '0'],
])('%s %s is wrong usage', async (...args) => {
  expect((await rehearse(BLIND, args)).exitCode).toBe(2);
});

test('a coordinator that is no address is refused like one', async () => {
  const { exitCode, stdout, stderr } = await rehearse(BLIND, [], {
    ADIT_COORDINATOR_URL: 'elsewhere',
  });
  expect(stdout + stderr).toContain('The settings name the coordinator elsewhere');
  expect(exitCode).toBe(2);
});

test('what is in the way of a rehearsal file is named', async () => {
  const file = path.join(folder, 'blocked.yaml');
  await copyFile(BLIND, file);
  await symlink(path.join(folder, 'gone'), path.join(folder, 'blocked.rehearse.yaml'));
  const { exitCode, stdout, stderr } = await rehearse(file, []);
  expect(stdout + stderr).toContain('blocked.rehearse.yaml cannot be written: EEXIST.');
  expect(exitCode).toBe(1);
});
