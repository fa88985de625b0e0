import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, open, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { readPast } from './past-times.js';

let stateDir: string;

beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-past-'));
});

afterEach(() => rm(stateDir, { recursive: true, force: true }));

interface Recorded {
  readonly pipeline?: string;
  readonly status?: string;
  readonly from?: number;
  readonly seconds: number;
}

/** A run whose step `a` began at second `from` and took so long. */
async function record(runId: string, recorded: Recorded): Promise<void> {
  const { pipeline = 'one', status = 'succeeded', from = 0, seconds } = recorded;
  const folder = path.join(stateDir, 'runs', runId);
  await mkdir(folder, { recursive: true });
  const at = (second: number): string => new Date(second * 1_000).toISOString();
  const step = { path: 'each#4/a', uses: 'process.run', status, attempts: 1 };
  await writeFile(
    path.join(folder, 'run.json'),
    JSON.stringify({
      runId,
      roundId: 'round',
      pipeline,
      status: 'succeeded',
      stage: 'a',
      outputs: {},
      steps: [{ ...step, startedAt: at(from), endedAt: at(from + seconds) }],
    }),
  );
}

/** What is known with the server at `address`, or without one. */
const look = (address?: string) =>
  readPast('one', {
    stateDir,
    server: address === undefined ? null : { address },
    flags: address === undefined ? {} : { address },
  });

const timeOf = async (): Promise<object | undefined> =>
  (await look()).times.get('each#*/a process.run');

/** The folder is given up after half a second, which may pass on a machine that has much to do. */
const withoutLimits = (): unknown => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
afterEach(() => vi.useRealTimers());

test('a time is the median of what succeeded in the runs of this very pipeline, each once', async () => {
  withoutLimits();
  await record('one-20260101-100000-aaaa', { seconds: 10 });
  await record('one-20260101-100001-aaaa', { seconds: 30, from: 1 });
  await record('one-20260101-100002-aaaa', { seconds: 20, from: 2 });
  // A retry shows what it took over; another pipeline's name may begin alike.
  await record('one-20260101-100003-aaaa', { seconds: 30, from: 1 });
  await record('one-20260101-100004-aaaa', { seconds: 99, from: 3, status: 'failed' });
  await record('one-more-20260101-100000-aaaa', { seconds: 500, pipeline: 'one-more' });
  expect(await timeOf()).toEqual({ ms: 20_000, count: 3 });
});

test('a damaged record is passed over, and the newest runs count', async () => {
  withoutLimits();
  for (let run = 0; run < 12; run += 1)
    await record(`one-20260101-10000${run % 10}-aa${run < 10 ? 'aa' : 'bb'}`, {
      seconds: 1,
      from: run,
    });
  await record('one-20270101-100000-aaaa', { seconds: 5, from: 100 });
  await writeFile(path.join(stateDir, 'runs', 'one-20270101-100000-aaaa', 'run.json'), '{ "runId"');
  expect(await look()).toMatchObject({
    runs: 10,
    source: 'evidence',
    remark: null,
  });
});

test('a record that is no file, or too large to be read soon, is passed over', async () => {
  withoutLimits();
  await record('one-20260101-100000-aaaa', { seconds: 7 });
  const recordOf = async (runId: string): Promise<string> => {
    await mkdir(path.join(stateDir, 'runs', runId), { recursive: true });
    return path.join(stateDir, 'runs', runId, 'run.json');
  };
  execFileSync('mkfifo', [await recordOf('one-20260101-100001-aaaa')]);
  await symlink('/dev/zero', await recordOf('one-20260101-100002-aaaa'));
  const large = await open(await recordOf('one-20260101-100003-aaaa'), 'w');
  await large.truncate(1024 ** 4);
  await large.close();
  expect(await look()).toMatchObject({ runs: 1, remark: null });
});

test('where no server is that could know more, a pipeline without a past run has never run', async () => {
  withoutLimits();
  expect(await look()).toEqual({ times: new Map(), runs: 0, source: 'evidence', remark: null });
});

test('a server that never answers is not waited for', async () => {
  const silent = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  try {
    const past = await look(`127.0.0.1:${port}`);
    expect(past.remark).toContain('did not answer within 2 s');
  } finally {
    silent.close();
  }
});
