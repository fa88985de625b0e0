/** The commands about programs, hosts and what they leave, by the built `adit` against a real server and worker. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { identifyProcess } from '../../adapters/temporal-server/process-identity.js';
import { adit } from '../support/cli.js';
import { openCliWorld, type CliWorld } from '../support/cli-world.js';
import { PACKAGE_ROOT } from '../support/local-network.js';

let world: CliWorld;

beforeAll(async () => {
  world = await openCliWorld('cli-programs');
});

afterAll(() => world.end());

test('a known secret that a program prints stands neither in its error nor in its status', async () => {
  const { waits, open } = world.gate();
  const runId = await world.start([
    {
      id: 'leak',
      command: `echo tok-5up3r-s3cret; ${waits}; exit 3`,
      more: '    retry: { attempts: 1 }\n',
    },
  ]);
  const status = async (): Promise<string> => JSON.stringify(await world.programs(runId));
  await expect.poll(status).toContain('[masked]');
  expect(await status()).not.toContain('s3cret');
  expect((await world.call('show', runId, '--json')).stdout).not.toContain('s3cret');
  await open();
  const ended = await world.call('watch', runId, '--json');
  expect(ended.stdout).toContain('Its last output: [masked]');
  expect(ended.stdout + ended.stderr).not.toContain('s3cret');
});

describe('adit logs', () => {
  test('follows a program while it runs to its end, byte for byte, with secrets masked', async () => {
    const { waits, open } = world.gate();
    const runId = await world.start([
      {
        id: 'talk',
        command: `printf 'a\\033[31m\\377 tok-5up3r-'; printf 's3cret.\\n'; ${waits}; echo last`,
      },
    ]);
    const follows = world.call('logs', runId, 'talk', '--follow');
    const sofar = async (): Promise<string> => (await world.call('logs', runId, 'talk')).stdout;
    await expect.poll(sofar).toContain('[masked].');
    await open();
    const { stdout, exitCode } = await follows;
    expect(exitCode).toBe(0);
    expect(stdout).toBe('a\u001b[31m\ufffd [masked].\nlast');
    expect((await world.call('logs', runId, 'talk')).stdout).toBe(stdout);
  });

  test('shows all programs in the order of their starts, and any start of one step', async () => {
    const runId = await world.start([
      { id: 'first', command: 'echo one' },
      {
        id: 'again',
        command: `echo try; [ -e ${world.folder}/again ] || { touch ${world.folder}/again; exit 1; }`,
        more: '    retry: { attempts: 2, first: 1ms }\n',
      },
    ]);
    await expect.poll(() => world.status(runId)).toBe('succeeded');
    const all = await world.call('logs', runId);
    expect(all.stdout).toBe('one\ntry\ntry');
    expect(all.stderr.match(/── (\S+), start (\d+)/g)).toEqual([
      '── first, start 1',
      '── again, start 1',
      '── again, start 2',
    ]);
    expect((await world.call('logs', runId, 'again')).stdout).toBe('try');
    expect((await world.call('logs', runId, 'again', '--start', 'all')).stdout).toBe('try\ntry');
    const absent = await world.call('logs', runId, 'again', '--start', '3');
    expect(absent.exitCode).toBe(2);
    expect(absent.stderr).toContain(`The step "again" of the run "${runId}" has no start 3 here.`);
    expect(absent.stderr).toContain('It has: 1, 2.');
  });

  test('follows on to the next start of a step, and through all programs of a run', async () => {
    const { waits, open } = world.gate();
    const command = `echo try $(ls ${world.folder} | grep -c turn-); touch ${world.folder}/turn-$$; ${waits}; ls ${world.folder}/second 2> /dev/null || { touch ${world.folder}/second; exit 1; }`;
    const runId = await world.start([
      { id: 'twice', command, more: '    retry: { attempts: 2, first: 500ms }\n' },
      { id: 'after', command: 'echo after' },
    ]);
    await expect.poll(() => world.programs(runId)).toHaveLength(1);
    const step = world.follow('logs', runId, 'twice', '--follow');
    const run = world.follow('logs', runId, '--follow');
    for (const { text } of [step, run]) await expect.poll(text).toBe('try 0\n');
    await open();
    await step.ended;
    await run.ended;
    expect(step.text()).toBe(`try 0\ntry 1\n${world.folder}/second\n`);
    expect(run.text()).toBe(`${step.text()}after\n`);
  });

  test('comes from the store when the run directory is gone, and says what is not there', async () => {
    const runId = await world.start([{ id: 'kept', command: 'echo kept' }]);
    await expect.poll(() => world.status(runId)).toBe('succeeded');
    await rm(path.join(world.stateDir, 'runs', runId, 'processes'), { recursive: true });
    expect((await world.call('logs', runId, 'kept')).stdout).toBe('kept');
    expect((await world.call('logs', runId)).stdout).toBe('kept');
    const wrongStep = await world.call('logs', runId, 'keep');
    expect(wrongStep.exitCode).toBe(2);
    expect(wrongStep.stderr).toContain(`The run "${runId}" has no step "keep" here.`);
    const wrongRun = await world.call('logs', 'no-such-run');
    expect(wrongRun.exitCode).toBe(1);
    expect(wrongRun.stderr).toContain('There is no run "no-such-run"');
    const noStep = await world.call('logs', runId, '--start', '1');
    expect(noStep.exitCode).toBe(2);
    expect(noStep.stderr).toContain('--start picks a start of one step');
  });
});

describe('a program that runs', () => {
  test('is listed with its host, has its limit moved, and is killed', async () => {
    const runId = await world.start([
      { id: 'sleep', command: 'exec sleep 600', more: '    timeout: 1h\n' },
    ]);
    await expect
      .poll(() => world.programs(runId))
      .toMatchObject([{ step: 'sleep', start: 1, state: 'running', pid: expect.any(Number) }]);
    const [{ pid, endsAt } = {}] = await world.programs(runId);
    expect(await world.callJson('ps')).toMatchObject({
      hosts: [
        { stateDir: world.stateDir, pid: world.host.pid, promise: expect.any(String), devices: [] },
      ],
    });
    expect((await world.call('show', runId)).stdout).toContain(`process ${String(pid)}`);

    const extended = await world.callJson('extend', runId, 'sleep', '2h');
    expect(Date.parse(String(extended['endsAt'])) - Date.parse(String(endsAt))).toBe(7_200_000);
    const wrong = await world.call('extend', runId, 'sleep', 'longer');
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain('"longer" is no duration.');
    const other = await world.call('kill', runId, 'slep');
    expect(other.exitCode).toBe(2);
    expect(other.stderr).toContain(`The run "${runId}" has no step "slep" here.`);

    expect(await world.callJson('kill', runId)).toEqual({
      runId,
      ended: [{ step: 'sleep', start: 1, pid }],
    });
    await expect.poll(() => world.status(runId)).toBe('failed');
    expect(await world.callJson('show', runId)).toMatchObject({
      error: { code: 'PROGRAM_KILLED', step: 'sleep' },
    });
    expect(identifyProcess(Number(pid))).toBeNull();
    const nothing = await world.call('kill', runId);
    expect(nothing.exitCode).toBe(1);
    expect(nothing.stderr).toContain(`The run "${runId}" has no program on this machine.`);
  });

  test('is ended by a cancellation that abandons silent hosts, also when it was asked for before', async () => {
    const runId = await world.start([{ id: 'sleep', command: 'exec sleep 600' }]);
    await expect.poll(() => world.programs(runId)).toHaveLength(1);
    expect(await world.callJson('cancel', runId)).toEqual({
      runId,
      status: 'running',
      requested: true,
      abandoned: false,
      forced: false,
    });
    const again = await world.callJson('cancel', runId, '--abandon', '--force');
    // It may have ended in between.
    if (again['error'] === undefined)
      expect(again).toMatchObject({ requested: true, abandoned: true, forced: true });
    await expect.poll(() => world.status(runId)).toBe('cancelled');
    await expect.poll(() => world.programs(runId)).toEqual([]);
  });
});

describe('adit host', () => {
  test('says what this machine can promise, and leaves in order', async () => {
    const own = path.join(world.folder, 'own-host');
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
    await expect.poll(() => text).toContain('\n');
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
    const { exitCode, stderr } = await world.call('host', ...flags);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
  });
});

describe('a machine without a process host', () => {
  test('has no programs, and says so', async () => {
    const empty = path.join(world.folder, 'empty');
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
    const { exitCode, stderr } = await world.call('host');
    expect(exitCode).toBe(1);
    expect(stderr).toContain(
      `A process host already runs for ${world.stateDir} (process ${world.host.pid}`,
    );
  });
});

describe('adit hold', () => {
  test('holds until adit release, and doctor says so', async () => {
    const held = await world.callJson('hold', '--reason', 'an outage', '--by', 'me');
    expect(held).toEqual({
      stateDir: world.stateDir,
      hold: { by: 'me', reason: 'an outage', since: expect.any(String) },
    });
    const { checks } = (await world.callJson('doctor')) as {
      checks: { name: string; found: string }[];
    };
    expect(checks.find(({ name }) => name === 'effects')?.found).toContain(
      'All effects are held by me',
    );
    expect(checks.find(({ name }) => name === 'process host')?.found).toContain(
      `process ${world.host.pid}`,
    );
    expect(await world.callJson('release')).toEqual({ stateDir: world.stateDir, released: true });
    expect((await world.call('release')).stdout).toContain(`Nothing is held in ${world.stateDir}.`);
  });
});

describe('adit prune', () => {
  test('frees what old rounds left, and keeps young and open ones, and the evidence', async () => {
    const { waits, open } = world.gate();
    const ended = await world.start([{ id: 'big', command: 'head -c 300000 /dev/zero; echo end' }]);
    await expect.poll(() => world.status(ended)).toBe('succeeded');
    const running = await world.start([{ id: 'wait', command: waits }]);
    await expect.poll(() => world.programs(running)).toHaveLength(1);

    type Pruned = {
      freedBytes: number;
      removed: { runId: string }[];
      kept: { runId: string; reason: string }[];
    };
    const young = (await world.callJson('prune')) as unknown as Pruned;
    expect(young.removed).toEqual([]);
    expect(young.kept.find(({ runId }) => runId === ended)?.reason).toContain('too young');

    const runFolder = path.join(world.stateDir, 'runs', ended);
    const dry = (await world.callJson(
      'prune',
      '--older-than',
      '1ms',
      '--dry-run',
    )) as unknown as Pruned;
    expect(dry.removed.map(({ runId }) => runId)).toContain(ended);
    expect(dry.freedBytes).toBeGreaterThan(300_000);
    expect(existsSync(path.join(runFolder, 'processes'))).toBe(true);

    const done = (await world.callJson('prune', '--older-than', '1ms')) as unknown as Pruned;
    expect(done.removed.map(({ runId }) => runId)).toContain(ended);
    expect(done.kept.find(({ runId }) => runId === running)?.reason).toContain('is open');
    expect(existsSync(path.join(runFolder, 'processes'))).toBe(false);
    expect(JSON.parse(await readFile(path.join(runFolder, 'run.json'), 'utf8'))).toMatchObject({
      runId: ended,
    });
    expect(existsSync(path.join(world.stateDir, 'runs', running, 'processes'))).toBe(true);

    // Of another server, as far as its record tells: this one cannot say that it has ended.
    const stranger = 'programs-20200101-000000-aaaa';
    const startFolder = path.join(world.stateDir, 'runs', stranger, 'processes', 'x', '1');
    await mkdir(startFolder, { recursive: true });
    const spec = {
      version: 1,
      argv: ['true'],
      server: { address: 'other:7233', namespace: 'default' },
    };
    await writeFile(path.join(startFolder, 'spec.json'), JSON.stringify(spec));
    const kept = (await world.callJson('prune', '--older-than', '1ms')) as unknown as Pruned;
    expect(kept.kept.find(({ runId }) => runId === stranger)?.reason).toContain(
      'belongs to the server other:7233',
    );

    await world.callJson('prune', '--older-than', '1ms', '--evidence');
    expect(existsSync(runFolder)).toBe(false);
    await open();
    await expect.poll(() => world.status(running)).toBe('succeeded');
  });
});
