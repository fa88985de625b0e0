/** The commands that steer runs: how far they go, decisions, approvals, further runs; by the built `adit` against a real server and worker. */
import { existsSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { adit } from '../support/cli.js';
import { openCliWorld, type CliWorld } from '../support/cli-world.js';

let world: CliWorld;

beforeAll(async () => {
  world = await openCliWorld('cli-runs');
});

afterAll(() => world.end());

/** What `adit plan` says of the run that stopped behind `b`, by the worker, by the evidence, and by its times. */
async function plansAsItRetries(runId: string): Promise<void> {
  const file = path.join(world.folder, 'pipeline.yaml');
  const changedFile = path.join(world.folder, 'changed.yaml');
  await writeFile(changedFile, `${await readFile(file, 'utf8')}\n# Changed.\n`);
  const before = await everythingThatIs(runId);
  const told = [
    { path: 'a', will: 'reused', reason: { code: 'kept' } },
    { path: 'b', will: 'reused', reason: { code: 'kept' } },
    { path: 'c', will: 'runs', reason: { code: 'never_ran' } },
  ];
  expect(await world.callJson('plan', '--retry', runId)).toMatchObject({
    retry: { runId, roundId: runId, source: 'worker', remark: null },
    steps: told,
    time: { source: 'evidence', neverRan: ['c'] },
  });
  const alone = await adit(['plan', '--retry', runId, '--json'], { stateDir: world.stateDir });
  expect(JSON.parse(alone.stdout)).toMatchObject({ retry: { source: 'evidence' }, steps: told });

  const same = await world.callJson('plan', file, '--retry', runId);
  expect(same).toMatchObject({ steps: told });
  const changed = await world.callJson('plan', changedFile, '--retry', runId);
  expect(changed).toMatchObject({
    steps: told.map((step) => ({
      path: step.path,
      will: 'runs',
      reason: { code: 'source_changed' },
    })),
  });

  // Another machine has no evidence of the run: the server tells.
  const elsewhere = await adit(['plan', file, '--json'], {
    stateDir: `${world.stateDir}-2`,
    env: world.env,
  });
  expect(JSON.parse(elsewhere.stdout)).toMatchObject({
    time: { source: 'server', remark: null },
    steps: [{ expected: { ms: expect.any(Number) } }, {}, { path: 'c', expected: null }],
  });
  expect(existsSync(`${world.stateDir}-2`)).toBe(false);
  expect(await everythingThatIs(runId)).toEqual(before);
}

/** Every file of the state folder with its size and time, the run, and all runs of the server. */
async function everythingThatIs(runId: string): Promise<unknown> {
  const entries = await readdir(world.stateDir, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
  const stats = await Promise.all(files.map((file) => stat(file)));
  return {
    files: files.map((file, index) => [file, stats[index]?.size, stats[index]?.mtimeMs]),
    run: await world.callJson('show', runId),
    runs: await world.callJson('list'),
  };
}

describe('adit run --until', () => {
  test('ends the run as stopped after the step, and adit retry goes on from there', async () => {
    const runId = await world.start(
      [
        { id: 'a', command: 'echo a' },
        { id: 'b', command: 'echo b' },
        { id: 'c', command: 'echo c' },
      ],
      '--until',
      'b',
    );
    await expect.poll(() => world.status(runId)).toBe('stopped');
    expect(await world.callJson('show', runId)).toMatchObject({ error: { code: 'UNTIL_REACHED' } });
    expect((await world.call('logs', runId)).stdout).toBe('a\nb');

    await plansAsItRetries(runId);
    const retried = await world.call('retry', runId, '--json');
    expect(retried.exitCode).toBe(0);
    const run = JSON.parse(retried.stdout) as { runId: string };
    expect(run).toMatchObject({
      status: 'succeeded',
      roundId: runId,
      retryOf: runId,
      reused: ['a', 'b'],
      rerun: ['c'],
    });
    expect(retried.stderr).toContain('reused: a, b');
    expect(retried.stderr).toContain('runs:   c');
    expect((await world.call('logs', run.runId)).stdout).toBe('c');

    const from = await world.callJson('retry', run.runId, '--from', 'b');
    expect(from).toMatchObject({
      status: 'succeeded',
      roundId: runId,
      reused: ['a'],
      rerun: ['b', 'c'],
    });
    const wrong = await world.call('retry', runId, '--from', 'd');
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('has no step `d`; it has a, b, c');
  });

  test('is refused for a step that is not there, before anything is started', async () => {
    const file = path.join(world.folder, 'pipeline.yaml');
    const wrong = await world.call('run', file, '--until', 'z');
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('--until: The pipeline programs has no step `z`');
    const late = await world.call('run', file, '--deadline', '2020-01-01T00:00:00Z');
    expect(late.exitCode).toBe(2);
    expect(late.stderr).toContain('--deadline: 2020-01-01T00:00:00Z is over.');
  });
});

describe('the deadline of a file', () => {
  test('ends the run in order, and the hooks of the settings are told once', async () => {
    const file = path.join(world.folder, 'deadline.yaml');
    const last = path.join(world.folder, 'last');
    await writeFile(
      file,
      `pipeline: deadline
deadline: 5s
notify: [failed]
steps:
  - try:
      - { id: sleep, uses: process.run, with: { command: exec sleep 600 } }
    finally:
      - { id: last, uses: process.run, with: { command: 'touch ${last}' } }
`,
    );
    const ended = await world.call('run', file, '--json');
    expect(ended.exitCode).toBe(1);
    const run = JSON.parse(ended.stdout) as { readonly runId: string };
    expect(run).toMatchObject({ status: 'failed', error: { code: 'RUN_DEADLINE' } });
    expect(existsSync(last)).toBe(true);
    expect(await world.programs(run.runId)).toEqual([]);
    const told = async (): Promise<readonly unknown[]> =>
      (await readFile(path.join(world.folder, 'notices'), 'utf8').catch(() => ''))
        .split('\n')
        .filter((line) => line.includes(run.runId))
        .map((line) => JSON.parse(line) as unknown);
    await expect.poll(told).toEqual([
      expect.objectContaining({
        event: 'failed',
        run: run.runId,
        pipeline: 'deadline',
        code: 'RUN_DEADLINE',
      }),
    ]);
  });
});

describe('adit retry', () => {
  test('refuses a run that is open, and one that is not there', async () => {
    const { waits, open } = world.gate();
    const runId = await world.start([{ id: 'wait', command: waits }]);
    const refused = await world.call('retry', runId);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(`The run "${runId}" has not ended; nothing was started.`);
    expect(refused.stderr).toContain(`cancel ${runId}`);
    await open();
    await expect.poll(() => world.status(runId)).toBe('succeeded');
    expect((await world.call('retry', 'no-such-run')).stderr).toContain(
      'There is no run "no-such-run"',
    );
  });
});

describe('a step that asks', () => {
  const asks = (command: string) => ({
    id: 'ask',
    command,
    more: '    on_failure: ask\n    retry: { attempts: 1 }\n',
  });

  async function park(command: string): Promise<string> {
    const runId = await world.start([asks(command)]);
    const waits = async (): Promise<unknown> =>
      ((await world.callJson('decide', runId)) as { parked?: unknown[] }).parked;
    await expect
      .poll(waits)
      .toMatchObject([{ runId, step: 'ask', error: { code: 'PROGRAM_FAILED' } }]);
    return runId;
  }

  test('is listed and shown with the commands that decide, and tried again on demand', async () => {
    const file = path.join(world.folder, 'fixed');
    const runId = await park(`[ -e ${file} ] && echo fine`);
    const shown = await world.call('show', runId);
    expect(shown.stdout).toContain(`decide ${runId} ask`);
    expect((await world.call('list')).stdout).toContain('waits for a decision: ask');
    expect((await world.call('decide')).stdout).toContain(`decide ${runId} ask`);
    const asked = await world.call('decide', runId, 'ask');
    expect(asked.stdout).toContain('PROGRAM_FAILED');
    for (const answer of ['--retry', '--value', '--fail'])
      expect(asked.stdout).toContain(`ask ${answer}`);

    await writeFile(file, '');
    const decided = await world.callJson(
      'decide',
      runId,
      'ask',
      '--retry',
      '--id',
      'd1',
      '--reason',
      'mended',
    );
    expect(decided).toEqual({ runId, step: 'ask', action: 'retry', id: 'd1', repeated: false });
    await expect.poll(() => world.status(runId)).toBe('succeeded');
    const late = await world.call('decide', runId, 'ask', '--retry');
    expect(late.exitCode).toBe(1);
    expect(late.stderr).toContain(`The run "${runId}" has already ended.`);
  });

  test('takes a value that its type could have returned, and refuses any other', async () => {
    const runId = await park('exit 3');
    const wrong = await world.call('decide', runId, 'ask', '--value', '{"exit_code": "none"}');
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('The value is none that process.run could have returned:');
    expect(wrong.stderr).toContain('exit_code');
    const log = { uri: `store:${'0'.repeat(64)}`, sha256: '0'.repeat(64), sizeBytes: 0 };
    const value = path.join(world.folder, 'value.json');
    await writeFile(value, JSON.stringify({ exit_code: 0, outputs: {}, log }));
    expect(await world.callJson('decide', runId, 'ask', '--value', value)).toMatchObject({
      action: 'value',
    });
    await expect.poll(() => world.status(runId)).toBe('succeeded');
  });

  test('fails with its code when that is the decision', async () => {
    const runId = await park('exit 3');
    const none = await world.call('decide', runId, 'wait', '--fail');
    expect(none.exitCode).toBe(2);
    expect(none.stderr).toContain(`The run "${runId}" has no step "wait" here.`);
    await world.callJson('decide', runId, 'ask', '--fail');
    await expect.poll(() => world.status(runId)).toBe('failed');
    expect(await world.callJson('show', runId)).toMatchObject({
      error: { code: 'PROGRAM_FAILED' },
    });
  });

  test.each([
    [['r', 's', '--retry', '--fail'], '--retry, --value and --fail are three answers'],
    [['r', '--retry'], 'An answer is for one step of one run.'],
    [['r', 's', '--reason', 'x'], '--reason, --by and --id belong to an answer'],
    [['r', 's', '--value', '{"a": '], '--value: it is not JSON'],
    [
      ['r', 's', '--value', '/no/such/file'],
      'The file of --value /no/such/file cannot be read: there is no such file.',
    ],
  ])('is not decided by %j', async (args, message) => {
    const { exitCode, stderr } = await world.call('decide', ...args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
  });
});

test('an approval is shown with its files, bound to them, and given once', async () => {
  const file = path.join(world.folder, 'approve.yaml');
  await writeFile(
    file,
    `pipeline: programs
steps:
  - { id: make, uses: process.run, with: { command: "printf 'one\\\\n\\\\033[31mred\\\\n'" } }
  - id: go
    approve:
      summary: Publish?
      show: { log: '\${{ steps.make.log }}' }
      fields: { lane: { one_of: [fast, careful] } }
      expires: 1h
outputs: { lane: '\${{ steps.go.lane }}' }
`,
  );
  const { runId } = (await world.callJson('run', file, '--detach')) as { runId: string };
  await expect
    .poll(() => world.callJson('approve', runId))
    .toMatchObject({ approvals: [{ runId, step: 'go', quorum: 1, approved: [] }] });
  expect((await world.call('show', runId)).stdout).toContain(`approve ${runId} go`);
  expect((await world.call('list')).stdout).toContain('waits for approval: go');
  const misled = await world.call('decide', runId, 'go', '--retry');
  expect(misled.exitCode).toBe(1);
  expect(misled.stderr).toContain('waits for approval, not for a decision');

  const shown = await world.call('approve', runId, 'go');
  const { digest, files } = (await world.callJson('approve', runId, 'go')) as {
    digest: string;
    files: { path: string }[];
  };
  for (const part of [
    'Publish?',
    '│ one',
    '│ ^[[31mred',
    'lane (one of "fast", "careful")',
    digest,
  ])
    expect(shown.stdout).toContain(part);
  expect(shown.stdout).not.toContain('\u001b[31mred');
  expect((await world.call('approve', runId, 'go', '--file', 'log')).stdout).toContain(
    '\u001b[31mred',
  );

  const stored = files[0]?.path ?? '';
  const bytes = await readFile(stored);
  await writeFile(stored, bytes.toString().replace('one', 'two'));
  const answer = ['approve', runId, 'go', '--approve', '--field', 'lane=fast'];
  const refusals: [string[], number, string][] = [
    [answer, 1, 'The file log cannot be shown:'],
    [[...answer, '--digest', '0'.repeat(64)], 1, 'The answer is for something else'],
  ];
  for (const [args, exitCode, message] of refusals) {
    const refused = await world.call(...args);
    expect(refused.stderr).toContain(message);
    expect(refused.exitCode).toBe(exitCode);
  }
  await writeFile(stored, bytes);
  expect(await world.callJson(...answer, '--by', 'ada', '--id', 'a1')).toEqual({
    runId,
    step: 'go',
    action: 'approve',
    id: 'a1',
    by: 'ada',
    digest,
    repeated: false,
    approved: 1,
    quorum: 1,
  });
  await expect.poll(() => world.status(runId)).toBe('succeeded');
  const { outputs, steps } = await world.callJson('show', runId);
  expect(outputs).toEqual({ lane: 'fast' });
  expect((steps as unknown[])[1]).toMatchObject({
    path: 'go',
    approval: { digest, approved: [{ by: 'ada' }], fields: { lane: 'fast' } },
  });
});
