/** The commands about programs, decisions and further runs, by the built `adit` against a real server and worker. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { identifyProcess } from '../../adapters/temporal-server/process-identity.js';
import { adit, environment, type CliResult } from '../support/cli.js';
import { PACKAGE_ROOT, startProgram, type Program } from '../support/local-network.js';

let folder: string;
let stateDir: string;
let env: NodeJS.ProcessEnv;
let host: Program;
let worker: Program;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-cli-programs-'));
  stateDir = path.join(folder, 'state');
  const { address } = inject('temporal');
  const tokenFile = path.join(folder, 'token');
  await writeFile(tokenFile, 'tok-5up3r-s3cret\n');
  env = {
    TEMPORAL_ADDRESS: address,
    ADIT_TASK_QUEUE: `cli-programs-${process.pid}`,
    ADIT_PUBLISH_TOKEN_FILE: tokenFile,
    ADIT_NOTIFY_COMMAND: JSON.stringify(['sh', '-c', `cat >> '${folder}/notices'`]),
  };
  const { PATH, HOME } = process.env;
  host = await startProgram('host/main.js', ['--state-dir', stateDir, '--gpus', 'none'], {
    PATH,
    HOME,
  });
  worker = await startProgram('worker/main.js', [], {
    PATH,
    HOME,
    ADIT_STATE_DIR: stateDir,
    ...env,
  });
});

afterAll(async () => {
  await worker.end('SIGTERM');
  await host.end('SIGTERM');
  await rm(folder, { recursive: true, force: true });
});

const call = (...args: string[]): Promise<CliResult> => adit(args, { stateDir, env });

/** A command whose output is looked at while it runs. */
function follow(...args: string[]): { readonly text: () => string; readonly ended: Promise<void> } {
  const child = execa(process.execPath, [path.join(PACKAGE_ROOT, 'cli', 'adit.js'), ...args], {
    extendEnv: false,
    env: environment({ stateDir, env }),
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { text: () => text, ended: child.then(() => undefined) };
}

async function callJson(...args: string[]): Promise<Record<string, unknown>> {
  return JSON.parse((await call(...args, '--json')).stdout) as Record<string, unknown>;
}

/** Starts a run of steps that are shell commands; a step may have further options. */
async function start(
  steps: readonly { id: string; command: string; more?: string }[],
  ...options: string[]
): Promise<string> {
  const file = path.join(folder, 'pipeline.yaml');
  const text = steps.map(
    ({ id, command, more = '' }) =>
      `  - id: ${id}\n    uses: process.run\n    with: { command: ${JSON.stringify(command)} }\n${more}`,
  );
  await writeFile(file, `pipeline: programs\nsteps:\n${text.join('')}`);
  const started = await callJson('run', file, '--detach', ...options);
  expect(started).toMatchObject({ runId: expect.any(String) });
  return String(started['runId']);
}

async function status(runId: string): Promise<unknown> {
  return (await callJson('show', runId))['status'];
}

/** What a program waits for, so that a test says when it goes on. */
function gate(): { readonly waits: string; readonly open: () => Promise<void> } {
  const file = path.join(folder, `gate-${Math.random().toString(36).slice(2)}`);
  return {
    waits: `while [ ! -e ${file} ]; do sleep 0.05; done`,
    open: () => writeFile(file, ''),
  };
}

async function programs(runId: string): Promise<Record<string, unknown>[]> {
  const { programs: all } = (await callJson('ps')) as { programs: Record<string, unknown>[] };
  return all.filter((program) => program['runId'] === runId);
}

test('a known secret that a program prints stands neither in its error nor in its status', async () => {
  const { waits, open } = gate();
  const runId = await start([
    {
      id: 'leak',
      command: `echo tok-5up3r-s3cret; ${waits}; exit 3`,
      more: '    retry: { attempts: 1 }\n',
    },
  ]);
  const status = async (): Promise<string> => JSON.stringify(await programs(runId));
  await expect.poll(status, { timeout: 30_000 }).toContain('[masked]');
  expect(await status()).not.toContain('s3cret');
  expect((await call('show', runId, '--json')).stdout).not.toContain('s3cret');
  await open();
  const ended = await call('watch', runId, '--json');
  expect(ended.stdout).toContain('Its last output: [masked]');
  expect(ended.stdout + ended.stderr).not.toContain('s3cret');
});

describe('adit logs', () => {
  test('follows a program while it runs to its end, byte for byte, with secrets masked', async () => {
    const { waits, open } = gate();
    const runId = await start([
      {
        id: 'talk',
        command: `printf 'a\\033[31m\\377 tok-5up3r-'; printf 's3cret.\\n'; ${waits}; echo last`,
      },
    ]);
    const follows = call('logs', runId, 'talk', '--follow');
    const sofar = async (): Promise<string> => (await call('logs', runId, 'talk')).stdout;
    await expect.poll(sofar, { timeout: 30_000 }).toContain('[masked].');
    await open();
    const { stdout, exitCode } = await follows;
    expect(exitCode).toBe(0);
    expect(stdout).toBe('a\u001b[31m\ufffd [masked].\nlast');
    expect((await call('logs', runId, 'talk')).stdout).toBe(stdout);
  });

  test('shows all programs in the order of their starts, and any start of one step', async () => {
    const runId = await start([
      { id: 'first', command: 'echo one' },
      {
        id: 'again',
        command: `echo try; [ -e ${folder}/again ] || { touch ${folder}/again; exit 1; }`,
        more: '    retry: { attempts: 2, first: 1ms }\n',
      },
    ]);
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('succeeded');
    const all = await call('logs', runId);
    expect(all.stdout).toBe('one\ntry\ntry');
    expect(all.stderr.match(/── (\S+), start (\d+)/g)).toEqual([
      '── first, start 1',
      '── again, start 1',
      '── again, start 2',
    ]);
    expect((await call('logs', runId, 'again')).stdout).toBe('try');
    expect((await call('logs', runId, 'again', '--start', 'all')).stdout).toBe('try\ntry');
    const absent = await call('logs', runId, 'again', '--start', '3');
    expect(absent.exitCode).toBe(2);
    expect(absent.stderr).toContain(`The step "again" of the run "${runId}" has no start 3 here.`);
    expect(absent.stderr).toContain('It has: 1, 2.');
  });

  test('follows on to the next start of a step, and through all programs of a run', async () => {
    const { waits, open } = gate();
    const command = `echo try $(ls ${folder} | grep -c turn-); touch ${folder}/turn-$$; ${waits}; ls ${folder}/second 2> /dev/null || { touch ${folder}/second; exit 1; }`;
    const runId = await start([
      { id: 'twice', command, more: '    retry: { attempts: 2, first: 500ms }\n' },
      { id: 'after', command: 'echo after' },
    ]);
    await expect.poll(() => programs(runId), { timeout: 30_000 }).toHaveLength(1);
    const step = follow('logs', runId, 'twice', '--follow');
    const run = follow('logs', runId, '--follow');
    for (const { text } of [step, run])
      await expect.poll(text, { timeout: 30_000 }).toBe('try 0\n');
    await open();
    await step.ended;
    await run.ended;
    expect(step.text()).toBe(`try 0\ntry 1\n${folder}/second\n`);
    expect(run.text()).toBe(`${step.text()}after\n`);
  });

  test('comes from the store when the run directory is gone, and says what is not there', async () => {
    const runId = await start([{ id: 'kept', command: 'echo kept' }]);
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('succeeded');
    await rm(path.join(stateDir, 'runs', runId, 'processes'), { recursive: true });
    expect((await call('logs', runId, 'kept')).stdout).toBe('kept');
    expect((await call('logs', runId)).stdout).toBe('kept');
    const wrongStep = await call('logs', runId, 'keep');
    expect(wrongStep.exitCode).toBe(2);
    expect(wrongStep.stderr).toContain(`The run "${runId}" has no step "keep" here.`);
    const wrongRun = await call('logs', 'no-such-run');
    expect(wrongRun.exitCode).toBe(1);
    expect(wrongRun.stderr).toContain('There is no run "no-such-run"');
    const noStep = await call('logs', runId, '--start', '1');
    expect(noStep.exitCode).toBe(2);
    expect(noStep.stderr).toContain('--start picks a start of one step');
  });
});

describe('a program that runs', () => {
  test('is listed with its host, has its limit moved, and is killed', async () => {
    const runId = await start([
      { id: 'sleep', command: 'exec sleep 600', more: '    timeout: 1h\n' },
    ]);
    await expect
      .poll(() => programs(runId), { timeout: 30_000 })
      .toMatchObject([{ step: 'sleep', start: 1, state: 'running', pid: expect.any(Number) }]);
    const [{ pid, endsAt } = {}] = await programs(runId);
    expect(await callJson('ps')).toMatchObject({
      hosts: [{ stateDir, pid: host.pid, promise: expect.any(String), devices: [] }],
    });
    expect((await call('show', runId)).stdout).toContain(`process ${String(pid)}`);

    const extended = await callJson('extend', runId, 'sleep', '2h');
    expect(Date.parse(String(extended['endsAt'])) - Date.parse(String(endsAt))).toBe(7_200_000);
    const wrong = await call('extend', runId, 'sleep', 'longer');
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('"longer" is no duration.');
    const other = await call('kill', runId, 'slep');
    expect(other.exitCode).toBe(2);
    expect(other.stderr).toContain(`The run "${runId}" has no step "slep" here.`);

    expect(await callJson('kill', runId)).toEqual({
      runId,
      ended: [{ step: 'sleep', start: 1, pid }],
    });
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('failed');
    expect(await callJson('show', runId)).toMatchObject({
      error: { code: 'PROGRAM_KILLED', step: 'sleep' },
    });
    expect(identifyProcess(Number(pid))).toBeNull();
    const nothing = await call('kill', runId);
    expect(nothing.exitCode).toBe(1);
    expect(nothing.stderr).toContain(`The run "${runId}" has no program on this machine.`);
  });

  test('is ended by a cancellation that abandons silent hosts, also when it was asked for before', async () => {
    const runId = await start([{ id: 'sleep', command: 'exec sleep 600' }]);
    await expect.poll(() => programs(runId), { timeout: 30_000 }).toHaveLength(1);
    expect(await callJson('cancel', runId)).toEqual({
      runId,
      status: 'running',
      requested: true,
      abandoned: false,
      forced: false,
    });
    const again = await callJson('cancel', runId, '--abandon', '--force');
    // It may have ended in between.
    if (again['error'] === undefined)
      expect(again).toMatchObject({ requested: true, abandoned: true, forced: true });
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('cancelled');
    await expect.poll(() => programs(runId), { timeout: 30_000 }).toEqual([]);
  });
});

describe('adit host', () => {
  test('says what this machine can promise, and leaves in order', async () => {
    const own = path.join(folder, 'own-host');
    const child = execa(
      process.execPath,
      [path.join(PACKAGE_ROOT, 'cli', 'adit.js'), 'host', '--gpus', '0,1'],
      {
        reject: false,
        env: { ADIT_STATE_DIR: own },
      },
    );
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await expect.poll(() => text, { timeout: 30_000 }).toContain('\n');
    expect(JSON.parse(text)).toMatchObject({
      ready: true,
      stateDir: own,
      containment: expect.any(String),
      promise: expect.any(String),
      devices: [{ id: '0' }, { id: '1' }],
    });
    child.kill('SIGTERM');
    expect((await child).exitCode).toBe(0);
    expect(JSON.parse((await adit(['ps', '--json'], { stateDir: own })).stdout)).toMatchObject({
      hosts: [],
    });
  });

  test.each([
    [['--idle-exit', 'soon'], 'It must be a number of seconds above 0.'],
    [['--containment', 'wishes'], 'Allowed choices are cgroup, pidNamespace, processGroup'],
  ])('is not started with %j', async (flags, message) => {
    const { exitCode, stderr } = await call('host', ...flags);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe('a machine without a process host', () => {
  test('has no programs, and says so', async () => {
    const empty = path.join(folder, 'empty');
    const listed = await adit(['ps', '--json'], { stateDir: empty });
    expect(listed.exitCode).toBe(0);
    expect(JSON.parse(listed.stdout)).toEqual({ hosts: [], programs: [], unhosted: [] });
    const told = await adit(['ps'], { stateDir: empty });
    expect(told.stdout).toContain(`No process host runs for ${empty}`);
    const killed = await adit(['kill', 'some-run', '--json'], { stateDir: empty });
    expect(killed.exitCode).toBe(1);
    expect(JSON.parse(killed.stdout)).toMatchObject({ error: { code: 'PROGRAM_NOT_FOUND' } });
  });

  test('refuses a second host for the same state folder, and names the first', async () => {
    const { exitCode, stderr } = await call('host');
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`A process host already runs for ${stateDir} (process ${host.pid}`);
  });
});

describe('adit run --until', () => {
  test('ends the run as stopped after the step, and adit retry goes on from there', async () => {
    const runId = await start(
      [
        { id: 'a', command: 'echo a' },
        { id: 'b', command: 'echo b' },
        { id: 'c', command: 'echo c' },
      ],
      '--until',
      'b',
    );
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('stopped');
    expect(await callJson('show', runId)).toMatchObject({ error: { code: 'UNTIL_REACHED' } });
    expect((await call('logs', runId)).stdout).toBe('a\nb');

    const retried = await call('retry', runId, '--json');
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
    expect((await call('logs', run.runId)).stdout).toBe('c');

    const from = await callJson('retry', run.runId, '--from', 'b');
    expect(from).toMatchObject({
      status: 'succeeded',
      roundId: runId,
      reused: ['a'],
      rerun: ['b', 'c'],
    });
    const wrong = await call('retry', runId, '--from', 'd');
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('has no step `d`; it has a, b, c');
  });

  test('is refused for a step that is not there, before anything is started', async () => {
    const file = path.join(folder, 'pipeline.yaml');
    const wrong = await call('run', file, '--until', 'z');
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('--until: The pipeline programs has no step `z`');
    const late = await call('run', file, '--deadline', '2020-01-01T00:00:00Z');
    expect(late.exitCode).toBe(2);
    expect(late.stderr).toContain('--deadline: 2020-01-01T00:00:00Z is over.');
  });
});

describe('the deadline of a file', () => {
  test('ends the run in order, and the hooks of the settings are told once', async () => {
    const file = path.join(folder, 'deadline.yaml');
    const last = path.join(folder, 'last');
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
    const ended = await call('run', file, '--json');
    expect(ended.exitCode).toBe(1);
    const run = JSON.parse(ended.stdout) as { readonly runId: string };
    expect(run).toMatchObject({ status: 'failed', error: { code: 'RUN_DEADLINE' } });
    expect(existsSync(last)).toBe(true);
    expect(await programs(run.runId)).toEqual([]);
    const told = async (): Promise<readonly unknown[]> =>
      (await readFile(path.join(folder, 'notices'), 'utf8').catch(() => ''))
        .split('\n')
        .filter((line) => line.includes(run.runId))
        .map((line) => JSON.parse(line) as unknown);
    await expect.poll(told, { timeout: 30_000 }).toEqual([
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
    const { waits, open } = gate();
    const runId = await start([{ id: 'wait', command: waits }]);
    const refused = await call('retry', runId);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(`The run "${runId}" has not ended; nothing was started.`);
    expect(refused.stderr).toContain(`cancel ${runId}`);
    await open();
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('succeeded');
    expect((await call('retry', 'no-such-run')).stderr).toContain('There is no run "no-such-run"');
  });
});

describe('a step that asks', () => {
  const asks = (command: string) => ({
    id: 'ask',
    command,
    more: '    on_failure: ask\n    retry: { attempts: 1 }\n',
  });

  async function park(command: string): Promise<string> {
    const runId = await start([asks(command)]);
    const waits = async (): Promise<unknown> =>
      ((await callJson('decide', runId)) as { parked?: unknown[] }).parked;
    await expect
      .poll(waits, { timeout: 30_000 })
      .toMatchObject([{ runId, step: 'ask', error: { code: 'PROGRAM_FAILED' } }]);
    return runId;
  }

  test('is listed and shown with the commands that decide, and tried again on demand', async () => {
    const file = path.join(folder, 'fixed');
    const runId = await park(`[ -e ${file} ] && echo fine`);
    const shown = await call('show', runId);
    expect(shown.stdout).toContain(`decide ${runId} ask`);
    expect((await call('list')).stdout).toContain('waits for a decision: ask');
    expect((await call('decide')).stdout).toContain(`decide ${runId} ask`);
    const asked = await call('decide', runId, 'ask');
    expect(asked.stdout).toContain('PROGRAM_FAILED');
    for (const answer of ['--retry', '--value', '--fail'])
      expect(asked.stdout).toContain(`ask ${answer}`);

    await writeFile(file, '');
    const decided = await callJson(
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
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('succeeded');
    const late = await call('decide', runId, 'ask', '--retry');
    expect(late.exitCode).toBe(1);
    expect(late.stderr).toContain(`The run "${runId}" has already ended.`);
  });

  test('takes a value that its type could have returned, and refuses any other', async () => {
    const runId = await park('exit 3');
    const wrong = await call('decide', runId, 'ask', '--value', '{"exit_code": "none"}');
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('The value is none that process.run could have returned:');
    expect(wrong.stderr).toContain('exit_code');
    const log = { uri: `store:${'0'.repeat(64)}`, sha256: '0'.repeat(64), sizeBytes: 0 };
    const value = path.join(folder, 'value.json');
    await writeFile(value, JSON.stringify({ exit_code: 0, outputs: {}, log }));
    expect(await callJson('decide', runId, 'ask', '--value', value)).toMatchObject({
      action: 'value',
    });
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('succeeded');
  });

  test('fails with its code when that is the decision', async () => {
    const runId = await park('exit 3');
    const none = await call('decide', runId, 'wait', '--fail');
    expect(none.exitCode).toBe(2);
    expect(none.stderr).toContain(`The run "${runId}" has no step "wait" here.`);
    await callJson('decide', runId, 'ask', '--fail');
    await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('failed');
    expect(await callJson('show', runId)).toMatchObject({ error: { code: 'PROGRAM_FAILED' } });
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
    const { exitCode, stderr } = await call('decide', ...args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe('adit hold', () => {
  test('holds until adit release, and doctor says so', async () => {
    const held = await callJson('hold', '--reason', 'an outage', '--by', 'me');
    expect(held).toEqual({
      stateDir,
      hold: { by: 'me', reason: 'an outage', since: expect.any(String) },
    });
    const { checks } = (await callJson('doctor')) as { checks: { name: string; found: string }[] };
    expect(checks.find(({ name }) => name === 'effects')?.found).toContain(
      'All effects are held by me',
    );
    expect(checks.find(({ name }) => name === 'process host')?.found).toContain(
      `process ${host.pid}`,
    );
    expect(await callJson('release')).toEqual({ stateDir, released: true });
    expect((await call('release')).stdout).toContain(`Nothing is held in ${stateDir}.`);
  });
});

test('an approval is shown with its files, bound to them, and given once', async () => {
  const file = path.join(folder, 'approve.yaml');
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
  const { runId } = (await callJson('run', file, '--detach')) as { runId: string };
  await expect
    .poll(() => callJson('approve', runId), { timeout: 30_000 })
    .toMatchObject({ approvals: [{ runId, step: 'go', quorum: 1, approved: [] }] });
  expect((await call('show', runId)).stdout).toContain(`approve ${runId} go`);
  expect((await call('list')).stdout).toContain('waits for approval: go');
  const misled = await call('decide', runId, 'go', '--retry');
  expect(misled.exitCode).toBe(1);
  expect(misled.stderr).toContain('waits for approval, not for a decision');

  const shown = await call('approve', runId, 'go');
  const { digest, files } = (await callJson('approve', runId, 'go')) as {
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
  expect((await call('approve', runId, 'go', '--file', 'log')).stdout).toContain('\u001b[31mred');

  const stored = files[0]?.path ?? '';
  const bytes = await readFile(stored);
  await writeFile(stored, bytes.toString().replace('one', 'two'));
  const answer = ['approve', runId, 'go', '--approve', '--field', 'lane=fast'];
  const refusals: [string[], number, string][] = [
    [answer, 1, 'The file log cannot be shown:'],
    [[...answer, '--digest', '0'.repeat(64)], 1, 'The answer is for something else'],
  ];
  for (const [args, exitCode, message] of refusals) {
    const refused = await call(...args);
    expect(refused.stderr).toContain(message);
    expect(refused.exitCode).toBe(exitCode);
  }
  await writeFile(stored, bytes);
  expect(await callJson(...answer, '--by', 'ada', '--id', 'a1')).toEqual({
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
  await expect.poll(() => status(runId), { timeout: 30_000 }).toBe('succeeded');
  const { outputs, steps } = await callJson('show', runId);
  expect(outputs).toEqual({ lane: 'fast' });
  expect((steps as unknown[])[1]).toMatchObject({
    path: 'go',
    approval: { digest, approved: [{ by: 'ada' }], fields: { lane: 'fast' } },
  });
});

describe('adit prune', () => {
  test('frees what old rounds left, and keeps young and open ones, and the evidence', async () => {
    const { waits, open } = gate();
    const ended = await start([{ id: 'big', command: 'head -c 300000 /dev/zero; echo end' }]);
    await expect.poll(() => status(ended), { timeout: 30_000 }).toBe('succeeded');
    const running = await start([{ id: 'wait', command: waits }]);
    await expect.poll(() => programs(running), { timeout: 30_000 }).toHaveLength(1);

    type Pruned = {
      freedBytes: number;
      removed: { runId: string }[];
      kept: { runId: string; reason: string }[];
    };
    const young = (await callJson('prune')) as unknown as Pruned;
    expect(young.removed).toEqual([]);
    expect(young.kept.find(({ runId }) => runId === ended)?.reason).toContain('too young');

    const runFolder = path.join(stateDir, 'runs', ended);
    const dry = (await callJson('prune', '--older-than', '1ms', '--dry-run')) as unknown as Pruned;
    expect(dry.removed.map(({ runId }) => runId)).toContain(ended);
    expect(dry.freedBytes).toBeGreaterThan(300_000);
    expect(existsSync(path.join(runFolder, 'processes'))).toBe(true);

    const done = (await callJson('prune', '--older-than', '1ms')) as unknown as Pruned;
    expect(done.removed.map(({ runId }) => runId)).toContain(ended);
    expect(done.kept.find(({ runId }) => runId === running)?.reason).toContain('is open');
    expect(existsSync(path.join(runFolder, 'processes'))).toBe(false);
    expect(JSON.parse(await readFile(path.join(runFolder, 'run.json'), 'utf8'))).toMatchObject({
      runId: ended,
    });
    expect(existsSync(path.join(stateDir, 'runs', running, 'processes'))).toBe(true);

    // Of another server, as far as its record tells: this one cannot say that it has ended.
    const stranger = 'programs-20200101-000000-aaaa';
    const startFolder = path.join(stateDir, 'runs', stranger, 'processes', 'x', '1');
    await mkdir(startFolder, { recursive: true });
    const spec = {
      version: 1,
      argv: ['true'],
      server: { address: 'other:7233', namespace: 'default' },
    };
    await writeFile(path.join(startFolder, 'spec.json'), JSON.stringify(spec));
    const kept = (await callJson('prune', '--older-than', '1ms')) as unknown as Pruned;
    expect(kept.kept.find(({ runId }) => runId === stranger)?.reason).toContain(
      'belongs to the server other:7233',
    );

    await callJson('prune', '--older-than', '1ms', '--evidence');
    expect(existsSync(runFolder)).toBe(false);
    await open();
    await expect.poll(() => status(running), { timeout: 30_000 }).toBe('succeeded');
  });
});
