import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createTestHost,
  endOf,
  LIMITS,
  lives,
  PLACE,
  readPid,
  run,
  shellSpec,
  until,
  untilFile,
  type TestHost,
} from '../test/support/process-host.js';
import type { HostProgramSpec, ProgramEvent } from '../core/host-protocol.js';
import type { HostClient } from './client.js';
import { programFiles } from './program-files.js';

describe('the process host', () => {
  let host: TestHost;
  let client: HostClient;
  beforeEach(async () => {
    host = createTestHost();
    await host.start();
    client = await host.connect();
  });
  afterEach(() => host.end());

  const shell = (command: string, changes: Partial<HostProgramSpec> = {}) =>
    shellSpec(command, { cwd: host.cwd, ...changes });
  const files = (start = 1) => programFiles(host.stateDir, { ...PLACE, start });
  const log = (start = 1) => readFileSync(files(start).log, 'utf8');
  const file = (name: string) => host.file(name);
  const step = { runId: PLACE.runId, stepPath: PLACE.stepPath };

  it('runs a command, keeps both streams in order, and tells how it ended', async () => {
    const result = await run(client, shell('echo one; echo two >&2; echo three; exit 7'));
    expect(result).toMatchObject({
      end: { cause: 'exited', code: 7, metrics: {} },
      adopted: false,
    });
    expect(log()).toBe('one\ntwo\nthree\n');
    expect(files().root).toBe(file('runs/run-1/processes/candidates.0@trained/1'));
  });

  it('tells a signal from an exit status', async () => {
    const end = await endOf(run(client, shell('kill -KILL $$')));
    expect(end).toMatchObject({ cause: 'signalled', signal: 'SIGKILL' });
    expect(end).not.toHaveProperty('code');
  });

  it('passes arguments as they are, without a shell', async () => {
    await run(client, { ...shell(''), argv: ['printf', '%s|', '$HOME', 'a b', '; exit 3'] });
    expect(log()).toBe('$HOME|a b|; exit 3|');
  });

  it('gives a program its environment and the marker, nothing of its own, and records names only', async () => {
    process.env['ADIT_TEST_SECRET'] = 'do not pass on';
    await run(client, { ...shell('env'), env: { PATH: '/usr/bin:/bin', EXTRA: 'private value' } });
    delete process.env['ADIT_TEST_SECRET'];
    const names = log()
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(new Set(names)).toEqual(new Set(['ADIT_PROCESS_ID', 'EXTRA', 'PATH', 'PWD']));
    const record = readFileSync(path.join(files().root, 'spec.json'), 'utf8');
    expect(record).toContain('EXTRA');
    expect(record).not.toContain('private value');
  });

  it('runs a program without a directory in the empty one of its start', async () => {
    await run(client, shellSpec('pwd; ls -A'));
    expect(log()).toBe(`${files().workDir}\n`);
  });

  it.each([
    ['no-such-command-here', 127],
    ['/etc', 126],
  ])('ends with the status of the shell when %s cannot be run', async (command, code) => {
    expect(await endOf(run(client, shell(command)))).toMatchObject({ cause: 'exited', code });
    expect(await endOf(run(client, { ...shell(''), argv: [command] }, { start: 2 }))).toMatchObject(
      { cause: 'exited', code },
    );
  });

  it('says what keeps a program from being started', async () => {
    writeFileSync(file('plain'), '');
    const inDirectory = (cwd: string) => run(client, { ...shell('true'), cwd });
    await expect(inDirectory(file('none'))).rejects.toMatchObject({
      code: 'PROGRAM_UNUSABLE',
      message: `The program could not be started in ${file('none')}: there is no such directory`,
    });
    await expect(inDirectory(file('plain'))).rejects.toMatchObject({
      code: 'PROGRAM_UNUSABLE',
      message: `The program could not be started in ${file('plain')}: it is no directory`,
    });
    for (const command of ['echo a\0b', `: ${'x'.repeat(200_000)}`]) {
      await expect(run(client, shell(command))).rejects.toMatchObject({
        code: 'PROGRAM_UNUSABLE',
        message: expect.stringContaining('The program could not be started in') as string,
      });
    }
    expect((await client.call('list', {})).programs).toEqual([]);
  });

  it.each([
    ['makes a loop of links of the folder of its output', 'rm -r output; ln -s output output'],
    ['removes the folder of its output', 'rm -r output'],
    ['puts a directory in the place of its output', 'rm output/log; mkdir output/log'],
  ])('serves the next program when one %s', async (_what, spoil) => {
    const end = await endOf(run(client, shellSpec(`cd ..; ${spoil}; exit 3`)));
    expect(end).toMatchObject({ cause: 'exited', code: 3 });
    expect(await endOf(run(client, shell('exit 4'), { start: 2 }))).toMatchObject({ code: 4 });
  });

  it('only adopts when it must not start', async () => {
    const only = { mayStart: false };
    expect(await run(client, shell(`touch ${file('ran')}`), only)).toEqual({ absent: true });
    expect(existsSync(file('ran'))).toBe(false);
    await run(client, shell('exit 3'));
    expect(await run(client, shell('exit 3'), { ...only, token: 2 })).toMatchObject({
      end: { cause: 'exited', code: 3 },
      adopted: true,
    });
  });

  it('takes the end of an earlier attempt of the same start, without running anything', async () => {
    const spec = shell(`echo run >> ${file('count')}; exit 3`, { volatileEnv: ['TRY'] });
    const first = await endOf(run(client, { ...spec, env: { ...spec.env, TRY: '1' } }));
    const again = await run(client, { ...spec, env: { ...spec.env, TRY: '2' } }, { token: 2 });
    expect(again).toEqual({ end: first, adopted: true });
    expect(readFileSync(file('count'), 'utf8')).toBe('run\n');
  });

  it('runs again in a new start, and when it is another program', async () => {
    const count = shell(`echo run >> ${file('count')}`);
    await run(client, count);
    await run(client, count, { start: 2 });
    await run(client, { ...count, env: { ...count.env, A: '1' } }, { start: 2 });
    expect(readFileSync(file('count'), 'utf8')).toBe('run\nrun\nrun\n');
  });

  it('leaves a program running when its connection breaks, and lets the next attempt follow it', async () => {
    const spec = shell(
      `echo $$ > ${file('pid')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done`,
    );
    const first = run(client, spec);
    const pid = await readPid(file('pid'));
    client.close();
    await expect(first).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
    const events: ProgramEvent[] = [];
    const second = run(await host.connect(), spec, {
      token: 2,
      onEvent: (event) => events.push(event),
    });
    await until(() => events.length > 0);
    expect(events[0]).toMatchObject({ kind: 'running', endsAtMs: null, devices: [] });
    expect(lives(pid)).toBe(true);
    writeFileSync(file('go'), '');
    expect(await second).toMatchObject({ end: { cause: 'exited', code: 0 }, adopted: true });
  });

  it('drops a request whose caller gave up, and nothing else', async () => {
    const controller = new AbortController();
    const spec = shell(
      `echo $$ > ${file('pid')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done`,
    );
    const first = run(client, spec, { signal: controller.signal });
    const pid = await readPid(file('pid'));
    const reason = new Error('the worker stops');
    controller.abort(reason);
    await expect(first).rejects.toBe(reason);
    expect(lives(pid)).toBe(true);
    const second = run(client, spec);
    writeFileSync(file('go'), '');
    expect(await second).toMatchObject({ adopted: true });
  });

  it('obeys the newest token only, whoever asks', async () => {
    const spec = shell(`echo $$ > ${file('pid')}; sleep 60`);
    const older = run(client, spec, { token: 100 });
    const takenOver = expect(older).rejects.toMatchObject({
      code: 'PROGRAM_TAKEN_OVER',
      message: 'A newer attempt of this step has the program.',
    });
    const pid = await readPid(file('pid'));
    const newer = run(await host.connect(), spec, { token: 200 });
    await takenOver;
    await expect(run(client, spec, { token: 199 })).rejects.toMatchObject({
      code: 'PROGRAM_TAKEN_OVER',
    });
    await expect(
      client.call('end', { ...step, token: 199, reason: 'cancelled' }),
    ).rejects.toMatchObject({ code: 'PROGRAM_TAKEN_OVER' });
    expect(lives(pid)).toBe(true);
    expect(await client.call('end', { ...step, token: 200, reason: 'cancelled' })).toEqual({
      ended: 1,
    });
    expect(lives(pid)).toBe(false);
    expect(await newer).toMatchObject({ end: { cause: 'requested', reason: 'cancelled' } });
  });

  it('remembers the newest token of a step that never had a program', async () => {
    await client.call('end', { ...step, token: 500, reason: 'confirm' });
    await host.restart();
    client = await host.connect();
    const late = run(client, shell(`touch ${file('ran')}`), { token: 400 });
    await expect(late).rejects.toMatchObject({ code: 'PROGRAM_TAKEN_OVER' });
    expect(existsSync(file('ran'))).toBe(false);
  });

  it('ends the program of an earlier start before it starts another', async () => {
    const first = run(client, shell(`echo $$ > ${file('pid')}; sleep 60`));
    const takenOver = expect(first).rejects.toMatchObject({ code: 'PROGRAM_TAKEN_OVER' });
    const pid = await readPid(file('pid'));
    const second = run(client, shell(`[ -e /proc/${pid}/exe ] || echo alone`), {
      start: 2,
      token: 2,
    });
    await second;
    expect(log(2)).toBe('alone\n');
    await takenOver;
    expect(await run(client, shell(''), { start: 1, token: 3, mayStart: false })).toMatchObject({
      absent: true,
    });
    expect(
      await run(client, shell(`echo $$ > ${file('pid')}; sleep 60`), { token: 3, mayStart: false }),
    ).toMatchObject({ end: { cause: 'requested', reason: 'superseded' } });
  });

  it('ends the whole tree: who ignores TERM, who leaves the group, who clears its environment', async () => {
    const spec = shell(
      [
        `(trap '' TERM; echo $(exec sh -c 'echo $PPID') > ${file('stubborn')}; while :; do sleep 1; done) &`,
        `setsid sh -c 'echo $$ > ${file('escaped')}; sleep 60' &`,
        `env -i sh -c 'echo $$ > ${file('cleared')}; sleep 60' &`,
        `wait`,
      ].join('\n'),
    );
    const running = run(client, spec);
    const pids = [];
    for (const name of ['stubborn', 'escaped', 'cleared']) pids.push(await readPid(file(name)));
    expect(pids.map(lives)).toEqual([true, true, true]);
    await client.call('end', { ...step, token: 1, reason: 'cancelled' });
    expect(pids.map(lives)).toEqual([false, false, false]);
    expect(await endOf(running)).toMatchObject({ cause: 'requested', reason: 'cancelled' });
  });

  it('gives a program the time to end well after TERM, and tells its status', async () => {
    const spec = shell(
      `trap 'echo saved > ${file('checkpoint')}; exit 5' TERM; touch ${file('started')}; while :; do sleep 0.02; done`,
      { limits: { ...LIMITS, graceMs: 20_000 } },
    );
    const running = run(client, spec);
    await untilFile(file('started'));
    await client.call('endRun', { runId: PLACE.runId, reason: 'paused' });
    expect(readFileSync(file('checkpoint'), 'utf8')).toBe('saved\n');
    expect(await endOf(running)).toMatchObject({ cause: 'requested', reason: 'paused', code: 5 });
  });

  it('ends what a program leaves behind, also after a good exit', async () => {
    await run(client, shell(`sleep 60 & echo $! > ${file('pid')}`));
    expect(lives(await readPid(file('pid')))).toBe(false);
  });

  it('says that a program is lost when its shim was killed, and leaves nothing running', async () => {
    const spec = shell(`echo $PPID > ${file('shim')}; echo $$ > ${file('pid')}; sleep 60`);
    const running = run(client, spec);
    const pid = await readPid(file('pid'));
    process.kill(await readPid(file('shim')), 'SIGKILL');
    expect(await endOf(running)).toMatchObject({ cause: 'lost' });
    expect(lives(pid)).toBe(false);
    expect(await run(client, spec, { token: 2 })).toMatchObject({
      end: { cause: 'lost' },
      adopted: true,
    });
  });

  it('ends a program whose folder is removed: that start is lost', async () => {
    const running = run(client, shell(`echo $$ > ${file('pid')}; sleep 60`));
    const pid = await readPid(file('pid'));
    rmSync(files().root, { recursive: true });
    expect(await endOf(running)).toMatchObject({ cause: 'lost' });
    expect(lives(pid)).toBe(false);
    expect(host.remarks.join()).toContain('its folder was removed, so the program is ended');
  });

  it('is not held up by what a program puts in place of its files', async () => {
    const spec = shell(
      'rm -r "$D/files"; rm "$D/output/log"; rm "$D/exit.json"; mkfifo "$D/output/log" "$D/metrics.jsonl" "$D/exit.json" "$D/progress.json"',
      { env: { PATH: '/usr/bin:/bin', D: files().root } },
    );
    expect(await endOf(run(client, spec))).toMatchObject({ cause: 'lost' });
    expect(await run(client, spec, { token: 2 })).toMatchObject({ adopted: true });
  });

  it('survives output that is not UTF-8, and closed output', async () => {
    expect(
      await endOf(run(client, shell(`printf 'a\\377\\376b\\n'; exec >&- 2>&-; exit 4`))),
    ).toMatchObject({ cause: 'exited', code: 4 });
    expect(readFileSync(files().log)).toEqual(Buffer.from([0x61, 0xff, 0xfe, 0x62, 0x0a]));
  });

  it('ends a program also when that can no longer be noted, as on a broken disk', async () => {
    const running = run(client, shell(`echo $$ > ${file('pid')}; sleep 60`));
    const pid = await readPid(file('pid'));
    const ending = path.join(files().root, 'ending.json');
    rmSync(ending);
    mkdirSync(ending);
    await client.call('end', { ...step, token: 1, reason: 'cancelled' });
    expect(lives(pid)).toBe(false);
    expect(await endOf(running)).toMatchObject({ cause: 'requested' });
  });

  it('starts nothing below the floor of free space', async () => {
    const spec = shell('true', { limits: { ...LIMITS, minFreeBytes: 2 ** 52 } });
    await expect(run(client, spec)).rejects.toMatchObject({ code: 'DISK_LOW' });
    expect(existsSync(files().root)).toBe(false);
  });

  it('lists what runs, for which server, and moves nothing when nothing lives', async () => {
    const server = { address: '127.0.0.1:7233', namespace: 'default' };
    const running = run(client, shell(`echo $$ > ${file('pid')}; sleep 60`, { server }));
    await readPid(file('pid'));
    expect((await client.call('list', {})).programs).toMatchObject([
      { ...PLACE, state: 'running', server, endsAtMs: null, devices: [], files: files() },
    ]);
    expect(await client.call('endRun', { runId: 'another', reason: 'runClosed' })).toEqual({
      ended: 0,
    });
    expect(await client.call('endRun', { runId: 'run-1', reason: 'runClosed' })).toEqual({
      ended: 1,
    });
    await running;
    await expect(client.call('extend', { ...step, byMs: 1 })).rejects.toMatchObject({
      code: 'STEP_PATH_UNKNOWN',
      message: 'No program of step candidates#0/trained of run run-1 runs on this host.',
    });
  });

  it('ends only when it is idle, unless its programs may be left', async () => {
    const running = run(client, shell(`echo $$ > ${file('pid')}; sleep 60`));
    running.catch(() => {});
    const pid = await readPid(file('pid'));
    await expect(client.call('shutdown', { leavePrograms: false })).rejects.toMatchObject({
      code: 'HOST_BUSY',
      message: 'The process host has 1 programs that run or wait.',
    });
    await client.call('shutdown', { leavePrograms: true });
    await expect(running).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
    expect(lives(pid)).toBe(true);
    const next = await host.start();
    await next.stop({ leavePrograms: false });
    expect(lives(pid)).toBe(false);
  });
});
