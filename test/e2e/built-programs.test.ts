/** What the build leaves: programs of a few files each, which bring along what they use. */
import { cp, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { adit } from '../support/cli.js';
import { PACKAGE_ROOT, startProgram } from '../support/local-network.js';

let folder: string;
/** The package without any other beside it. */
let root: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-built-'));
  root = path.join(folder, 'alone');
  for (const part of ['package.json', 'cli/adit.js', 'dist', 'pipelines']) {
    await cp(path.join(PACKAGE_ROOT, part), path.join(root, part), { recursive: true });
  }
});
afterAll(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }));

const pipeline = (): string => path.join(root, 'pipelines', 'frontier-round.yaml');

test.each([
  ['check', () => [pipeline()]],
  ['test', () => [pipeline().replace('.yaml', '.test.yaml')]],
  ['steps', () => []],
  ['graph', () => [pipeline()]],
])('`adit %s` needs no package', async (command, args) => {
  const stateDir = path.join(folder, 'state');
  const result = await adit([command, ...args()], { stateDir, root });
  expect(result.exitCode, result.stderr).toBe(0);
});

test('a command that asks a server needs no package', async () => {
  const stateDir = path.join(folder, 'state');
  const args = ['watch', 'nobody', '--address', inject('temporal').address, '--json'];
  const { stdout } = await adit(args, { stateDir, root });
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'RUN_NOT_FOUND' } });
});

test('the process host needs no package, and knows which build it is of', async () => {
  const { PATH, HOME } = process.env;
  const host = await startProgram(
    'host/main.js',
    ['--state-dir', path.join(folder, 'host'), '--gpus', 'none'],
    { PATH, HOME },
    { dist: path.join(root, 'dist') },
  );
  const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  expect(host.ready).toMatchObject({ ready: true, build: version });
  await host.end('SIGTERM');
});

test("no program but the command line holds a package of Temporal's SDK, which a process must have once", async () => {
  const dist = path.join(root, 'dist');
  const files = (await readdir(dist, { recursive: true })).filter(
    (file) => file.endsWith('.js') && file !== 'workflow-bundle.js',
  );
  const holding = [];
  for (const file of files) {
    const text = await readFile(path.join(dist, file), 'utf8');
    if (/^\/\/ node_modules\/(@temporalio|nexus-rpc)\//m.test(text)) holding.push(file);
  }
  expect(holding).not.toEqual([]);
  expect(holding.filter((file) => !file.startsWith('cli/'))).toEqual([]);
});
