/**
 * Runs that an earlier build began and this one goes on with: commands, host and worker of both, on one server and with
 * one state folder. `test/builds/pack.sh` has packed the earlier build.
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { adit } from '../support/cli.js';
import { PACKAGE_ROOT, startProgram, type Program } from '../support/local-network.js';
import { historiesOf } from '../support/workflow-runs.js';

const EARLIER = 'adit-130ab96.tar.gz';

const BUILDS = path.join(PACKAGE_ROOT, 'test', 'builds');

/** Notes that it was started, waits until it may go on, and returns its name. */
const WORK = `here=$(dirname "$0")
echo "$1" >> "$here/started"
while [ ! -e "$here/go-$1" ]; do sleep 0.05; done
printf '{"value":"%s"}' "$1" > "$ADIT_OUTPUTS_FILE"
`;

interface Build {
  readonly host: Program;
  readonly worker: Program;
  /** What a command of this build prints with `--json`. */
  json(...args: string[]): Promise<Record<string, unknown>>;
}

let folder: string;
let client: Client;
const programs: Program[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-builds-'));
  client = new Client({ connection: await Connection.connect(inject('temporal')) });
  await cp(path.join(BUILDS, 'pipelines'), folder, { recursive: true });
  await writeFile(path.join(folder, 'work.sh'), WORK);
});

afterAll(async () => {
  for (const program of programs) await program.end('SIGKILL');
  await client.connection.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

async function unpack(): Promise<string> {
  const root = path.join(folder, 'earlier');
  await mkdir(root);
  await execa('tar', ['-xzf', path.join(BUILDS, EARLIER), '-C', root]);
  await symlink(path.join(PACKAGE_ROOT, 'node_modules'), path.join(root, 'node_modules'));
  return root;
}

async function start(root: string): Promise<Build> {
  const { PATH, HOME } = process.env;
  const stateDir = path.join(folder, 'state');
  const { address } = inject('temporal');
  const env = { TEMPORAL_ADDRESS: address, ADIT_TASK_QUEUE: `builds-${process.pid}` };
  const inBuild = { dist: path.join(root, 'dist') };
  const whole = { PATH, HOME, ADIT_STATE_DIR: stateDir, ...env };
  const hostArgs = ['--state-dir', stateDir, '--gpus', 'none'];
  const host = await startProgram('host/main.js', hostArgs, { PATH, HOME }, inBuild);
  programs.push(host);
  const worker = await startProgram('worker/main.js', [], whole, inBuild);
  programs.push(worker);
  return {
    host,
    worker,
    json: async (...args) => {
      const { stdout, stderr } = await adit([...args, '--json'], { stateDir, env, root });
      if (stdout === '') throw new Error(stderr);
      return JSON.parse(stdout) as Record<string, unknown>;
    },
  };
}

const letGo = (...names: string[]): Promise<unknown> =>
  Promise.all(names.map((name) => writeFile(path.join(folder, `go-${name}`), '')));

const started = async (): Promise<string[]> =>
  (await readFile(path.join(folder, 'started'), 'utf8').catch(() => '')).trim().split('\n');

const untilStarted = (...names: string[]): Promise<void> =>
  expect.poll(started).toEqual(expect.arrayContaining(names));

async function begin(build: Build, file: string): Promise<string> {
  const given = `folder=${folder}`;
  const { runId } = await build.json('run', path.join(folder, file), '--input', given, '--detach');
  return String(runId);
}

/** Who took the workflow tasks of a run, and those that could not be done. */
async function tasksOf(workflowId: string): Promise<{ workers: Set<string>; failed: unknown[] }> {
  const histories = await historiesOf(client.workflow.getHandle(workflowId), client);
  const events = histories.flat();
  return {
    workers: new Set(
      events.flatMap((event) => event.workflowTaskCompletedEventAttributes?.identity ?? []),
    ),
    failed: events.flatMap((event) => event.workflowTaskFailedEventAttributes ?? []),
  };
}

test('a worker of this build carries on what one of an earlier build began', async () => {
  const old = await start(await unpack());
  await letGo('once');
  const broken = await begin(old, 'breaks.yaml');
  expect(await old.json('watch', broken)).toMatchObject({ status: 'failed' });

  const run = await begin(old, 'whole.yaml');
  await untilStarted('train', 'each-x', 'again-0', 'measure');
  await letGo('each-x');
  await untilStarted('each-y');
  await letGo('again-0');
  await untilStarted('again-1');
  await expect
    .poll(() => old.json('decide', run))
    .toMatchObject({ parked: [{ step: 'guard/all/asks' }, { step: 'guard/all/agreed' }] });
  await old.worker.end('SIGKILL');
  await old.host.end('SIGTERM');
  // What ends while nobody is there is found.
  await letGo('train', 'measure', 'each-y');

  const now = await start(PACKAGE_ROOT);
  await letGo('each-z', 'again-1', 'caught', 'clean');
  await writeFile(path.join(folder, 'decided'), '');
  await writeFile(path.join(folder, 'mended'), '');
  // The server asks the worker that is gone first, for some seconds.
  await untilStarted('each-z');
  expect(await now.json('decide', run, 'asks', '--retry')).toMatchObject({ repeated: false });
  expect(
    await now.json('approve', run, 'agreed', '--approve', '--field', 'lane=careful'),
  ).toMatchObject({ approved: 1 });
  const ended = await now.json('watch', run);
  expect(ended).toMatchObject({
    status: 'succeeded',
    outputs: {
      train: 'train',
      each: ['each-x', 'each-y', 'each-z'],
      again: ['again-0', 'again-1'],
      gate: 'measure',
      lane: 'careful',
      asks: 0,
    },
  });
  for (const id of [run, `${run}/guard/all/gate`]) {
    const { workers, failed } = await tasksOf(id);
    expect(failed).toEqual([]);
    expect([...workers].map((name) => Number(/\d+/.exec(name)))).toEqual([
      old.worker.pid,
      now.worker.pid,
    ]);
  }

  // Its bundle holds what both have done.
  const bundle = path.join(folder, 'whole.tar');
  const { root } = await now.json('bundle', run, '--out', bundle);
  expect(ended).toMatchObject({ bundle: root });
  expect(await now.json('verify', bundle, '--root', String(root))).toMatchObject({
    verdict: 'authentic',
    problems: [],
  });

  // One that the earlier build has ended is read, and tried again with what it has done.
  expect(await now.json('show', broken)).toEqual(await old.json('show', broken));
  const { runId, reused } = await now.json('retry', broken, '--detach');
  expect(reused).toEqual(['first']);
  expect(await now.json('watch', String(runId))).toMatchObject({
    status: 'succeeded',
    outputs: { value: 'once' },
  });
  // Nothing ran twice.
  expect((await started()).toSorted()).toEqual([
    'again-0',
    'again-1',
    'caught',
    'clean',
    'each-x',
    'each-y',
    'each-z',
    'measure',
    'once',
    'train',
  ]);
});
