import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
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
  type TestHost,
} from '../test/support/process-host.js';
import type { HostProgramSpec, ProgramEvent, ProgramLimits } from '../core/host-protocol.js';
import type { Expr } from '../core/expression.js';
import type { HostClient } from './client.js';
import { readCut } from './output-limit.js';
import { readHeadAndTail } from './output-reader.js';
import { programFiles } from './program-files.js';

describe('limits, warnings and devices', () => {
  let host: TestHost;
  let client: HostClient;
  const devices = [`test-${randomUUID()}`, `test-${randomUUID()}`];
  beforeEach(async () => {
    host = createTestHost();
    await host.start({ gpus: devices });
    client = await host.connect();
  });
  afterEach(() => host.end());

  const shell = (command: string, limits: Partial<ProgramLimits> = {}, changes = {}) =>
    shellSpec(command, { cwd: host.cwd, limits: { ...LIMITS, ...limits }, ...changes });
  const file = (name: string) => host.file(name);
  const step = { runId: PLACE.runId, stepPath: PLACE.stepPath };
  const log = (start = 1) =>
    readFileSync(programFiles(host.stateDir, { ...PLACE, start }).log, 'utf8');
  const forever = (limits: Partial<ProgramLimits> = {}): HostProgramSpec =>
    shell(`echo $$ > ${file('pid')}; sleep 60`, limits);

  /** `metrics.<name> < bound` */
  const below = (name: string, bound: number): Expr => ({
    op: 'call',
    fn: '_<_',
    args: [
      { op: 'member', of: { op: 'name', name: 'metrics' }, key: name },
      { op: 'lit', value: bound },
    ],
  });

  it.each([
    ['limit', { stepMs: 5_000 }],
    ['startLimit', { stepMs: 60_000, startMs: 5_000 }],
    ['deadline', { stepMs: 60_000, deadlineMs: 1 }],
  ] as const)('ends a program at its %s, and says which it was', async (cause, limits) => {
    const relative: Partial<ProgramLimits> =
      'deadlineMs' in limits ? { ...limits, deadlineMs: Date.now() + 5_000 } : limits;
    const end = await endOf(run(client, forever(relative)));
    expect(end).toMatchObject({ cause });
    expect(lives(await readPid(file('pid')))).toBe(false);
  });

  it('tells a program when it will be ended', async () => {
    const deadlineMs = Date.now() + 3_600_500;
    await run(client, shell('echo $ADIT_DEADLINE', { deadlineMs, stepMs: 7_200_000 }));
    expect(log()).toBe(`${Math.floor(deadlineMs / 1_000)}\n`);
    await run(client, shell('echo "[$ADIT_DEADLINE]"'), { start: 2 });
    expect(log(2)).toBe('[]\n');
  });

  it('counts the run time of all starts, and starts nothing when it is used up', async () => {
    await endOf(run(client, forever({ stepMs: 400 })));
    const used = await run(client, shell(`touch ${file('ran')}`, { stepMs: 400 }), { start: 2 });
    expect(used).toMatchObject({ end: { cause: 'limit' }, adopted: false });
    const past = shell(`touch ${file('ran')}`, { deadlineMs: Date.now() - 1 });
    expect(await endOf(run(client, past, { start: 3 }))).toMatchObject({ cause: 'deadline' });
    expect(existsSync(file('ran'))).toBe(false);
    const events: ProgramEvent[] = [];
    await run(client, shell('true', { stepMs: 60_000 }), {
      start: 4,
      onEvent: (event) => events.push(event),
    });
    expect(events[0]).toMatchObject({ kind: 'running' });
    expect((events[0] as { ranMs: number }).ranMs).toBeGreaterThanOrEqual(400);
  });

  it('extends the limit of a running program and of its later starts', async () => {
    const spec = forever({ stepMs: 5_000, startMs: 5_000 });
    const running = run(client, spec);
    const broken = expect(running).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
    const pid = await readPid(file('pid'));
    const before = (await client.call('list', {})).programs[0]?.endsAtMs ?? 0;
    const { endsAtMs } = await client.call('extend', { ...step, byMs: 600_000 });
    expect(endsAtMs).toBe(before + 600_000);
    await host.restart({ gpus: devices });
    await broken;
    const next = await host.connect();
    await until(() => Date.now() > before);
    expect((await next.call('list', {})).programs[0]?.endsAtMs).toBe(endsAtMs);
    expect(lives(pid)).toBe(true);
    await next.call('end', { ...step, token: 1, reason: 'cancelled' });
    const events: ProgramEvent[] = [];
    const second = run(next, spec, { start: 2, onEvent: (event) => events.push(event) });
    await until(() => events.length > 0);
    const ran = Date.now() - before;
    expect((events[0] as { endsAtMs: number }).endsAtMs - Date.now()).toBeGreaterThan(
      500_000 - ran,
    );
    await next.call('end', { ...step, token: 1, reason: 'cancelled' });
    await second;
  });

  it('warns those that handle the signal before the limit, and lets them end well', async () => {
    const command = [
      `( trap 'echo saved; exit 0' USR1; echo $$ > ${file('pid')}; while :; do sleep 0.02; done )`,
      'echo after',
    ].join('\n');
    const warning = { signal: 'SIGUSR1', beforeMs: 59_000 };
    const end = await endOf(run(client, shell(command, { stepMs: 60_000, warning })));
    expect(end).toMatchObject({ cause: 'exited', code: 0 });
    expect(log()).toBe('saved\nafter\n');
  });

  it('warns a program that handles the signal only later than it came', async () => {
    const command = [
      `echo $$ > ${file('pid')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done`,
      `trap 'echo saved; exit 0' USR1`,
      'while :; do sleep 0.02; done',
    ].join('\n');
    const events: ProgramEvent[] = [];
    // The time of its warning is over before it begins.
    const warning = { signal: 'SIGUSR1', beforeMs: 90_000 };
    const running = run(client, shell(command, { stepMs: 60_000, warning }), {
      onEvent: (event) => events.push(event),
    });
    await readPid(file('pid'));
    await until(() => events.length > 0);
    writeFileSync(file('go'), '');
    expect(await endOf(running)).toMatchObject({ cause: 'exited', code: 0 });
    expect(log()).toBe('saved\n');
  });

  const hopeless = `trap : USR1; echo $$ > PID; echo loss=0.5; while :; do sleep 0.02; done`;
  const rule = { stopWhen: { expr: below('loss', 1), patience: 1 } };

  it('ends a program by its rule although its limit is extended meanwhile', async () => {
    const warning = { signal: 'SIGUSR1', beforeMs: 2_500 };
    const spec = shell(
      hopeless.replace('PID', file('pid')),
      { stepMs: 600_000, warning },
      { watch: rule },
    );
    const running = run(client, spec);
    await until(async () => (await client.call('list', {})).programs[0]?.state === 'ending');
    await expect(client.call('extend', { ...step, byMs: 600_000 })).rejects.toMatchObject({
      code: 'STEP_PATH_UNKNOWN',
    });
    expect(await endOf(running)).toMatchObject({ cause: 'rule' });
  });

  it('gives a program that its rule ends no more time than its limit does', async () => {
    const warning = { signal: 'SIGUSR1', beforeMs: 60_000 };
    const spec = shell(hopeless.replace('PID', file('pid')), { stepMs: 6_000, warning });
    expect(await endOf(run(client, { ...spec, watch: rule }))).toMatchObject({ cause: 'rule' });
  });

  it('ends a program by its rule, with a warning first, and what it reached is a result', async () => {
    const watch: HostProgramSpec['watch'] = {
      patterns: { loss: 'val loss: {} nats' },
      stopWhen: { expr: below('loss', 1), patience: 1 },
    };
    const command = [
      `trap 'echo saved; exit 0' USR1`,
      `echo 'val loss: 0.5 nats'`,
      'while :; do sleep 0.02; done',
    ].join('\n');
    const warning = { signal: 'SIGUSR1', beforeMs: 50_000 };
    const spec = shell(command, { warning }, { watch });
    const end = await endOf(run(client, spec));
    expect(end).toMatchObject({ cause: 'rule', code: 0, metrics: { loss: 0.5 } });
    expect(log()).toBe('val loss: 0.5 nats\nsaved\n');
    // The same from the records, after the host that saw it.
    await host.restart({ gpus: devices });
    expect(await run(await host.connect(), spec, { token: 2 })).toEqual({ end, adopted: true });
  });

  it('warns of a program that shows no sign of life, then ends it', async () => {
    const events: ProgramEvent[] = [];
    const spec = shell('sleep 60', { graceMs: 20_000 }, { watch: { stalledAfterMs: 1_200 } });
    const end = await endOf(run(client, spec, { onEvent: (event) => events.push(event) }));
    expect(end).toMatchObject({ cause: 'stalled', signal: 'SIGTERM' });
    expect(events).toContainEqual(
      expect.objectContaining({
        kind: 'running',
        warning: expect.stringContaining('no output and no new metric') as string,
      }),
    );
  });

  it('tells what a program reports while it runs, and the next host goes on with it', async () => {
    const spec = shell(
      `echo step=1; while [ ! -e ${file('go')} ]; do sleep 0.02; done; echo step=2`,
    );
    const seen: number[] = [];
    const onEvent = (event: ProgramEvent): void => {
      if (event.kind === 'running') seen.push(Number(event.status['step'] ?? 0));
    };
    run(client, spec, { onEvent }).catch(() => {});
    await until(() => seen.includes(1));
    await host.restart({ gpus: devices });
    const second = run(await host.connect(), spec, { token: 2 });
    writeFileSync(file('go'), '');
    expect(await endOf(second)).toMatchObject({ cause: 'exited', metrics: { step: 2 } });
  });

  it('keeps head and tail of an output that is larger than its limit', async () => {
    const spec = shell(
      `echo first; head -c 60000000 /dev/zero | tr '\\0' x; echo; echo last; touch ${file('written')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done`,
      { outputBytes: 1_000_000 },
    );
    const running = run(client, spec);
    const { log: logFile } = programFiles(host.stateDir, PLACE);
    await until(async () => existsSync(file('written')) && (await readCut(logFile)) !== null);
    writeFileSync(file('go'), '');
    await running;
    expect(statSync(logFile).blocks * 512).toBeLessThan(2_000_000);
    const text = await readHeadAndTail(logFile, 100_000);
    expect(text.startsWith('first\n')).toBe(true);
    expect(text.endsWith('\nlast\n')).toBe(true);
  });

  describe('devices', () => {
    const onGpu = (name: string, gpus = 1): HostProgramSpec =>
      shell(
        `echo $CUDA_VISIBLE_DEVICES; echo $$ > ${file(`${name}.pid`)}; while [ ! -e ${file(`${name}.go`)} ]; do sleep 0.02; done`,
        {},
        { gpus },
      );
    const go = (name: string) => writeFileSync(file(`${name}.go`), '');
    const logOf = (stepPath: string) =>
      readFileSync(programFiles(host.stateDir, { ...PLACE, stepPath }).log, 'utf8').trim();

    it('are leased one to a program, for as long as it lives; who waits is told for whom', async () => {
      const a = run(client, onGpu('a'), { stepPath: 'a' });
      const b = run(client, onGpu('b'), { stepPath: 'b' });
      await readPid(file('a.pid'));
      await readPid(file('b.pid'));
      const events: ProgramEvent[] = [];
      const c = run(client, onGpu('c', 2), {
        stepPath: 'c',
        onEvent: (event) => events.push(event),
      });
      await until(() => events.length > 0);
      expect(events[0]).toMatchObject({
        kind: 'waiting',
        reason: expect.stringContaining('run run-1, step ') as string,
      });
      expect((await client.call('list', {})).programs).toContainEqual(
        expect.objectContaining({ stepPath: 'c', state: 'waiting', pid: null, startedAtMs: null }),
      );
      // A program without devices is not held up.
      await run(client, shell('true'), { stepPath: 'cpu' });
      go('a');
      await a;
      expect(existsSync(file('c.pid'))).toBe(false);
      go('b');
      await b;
      await readPid(file('c.pid'));
      go('c');
      await c;
      expect([logOf('a'), logOf('b')].sort()).toEqual([...devices].sort());
      expect(logOf('c').split(',').sort()).toEqual([...devices].sort());
    });

    it('are kept by a program through the life of its hosts', async () => {
      run(client, onGpu('a', 2), { stepPath: 'a' }).catch(() => {});
      await readPid(file('a.pid'));
      await host.restart({ gpus: devices });
      const next = await host.connect();
      const events: ProgramEvent[] = [];
      const b = run(next, onGpu('b'), { stepPath: 'b', onEvent: (event) => events.push(event) });
      await until(() => events.some(({ kind }) => kind === 'waiting'));
      go('a');
      go('b');
      expect(await endOf(b)).toMatchObject({ cause: 'exited', code: 0 });
    });

    it('are refused when there are not that many', async () => {
      await expect(run(client, onGpu('a', 3))).rejects.toMatchObject({
        code: 'DEVICE_MISSING',
        message: 'The step needs 3 devices, and this host has 2.',
      });
    });

    it('are not waited for by a client that went away, nor by a step that was ended', async () => {
      run(client, onGpu('a', 2), { stepPath: 'a' }).catch(() => {});
      await readPid(file('a.pid'));
      const gone = await host.connect();
      const isWaiting = (stepPath: string) => async (): Promise<boolean> =>
        (await client.call('list', {})).programs.some((one) => one.stepPath === stepPath);
      run(gone, onGpu('b'), { stepPath: 'b' }).catch(() => {});
      await until(isWaiting('b'));
      gone.close();
      await until(async () => !(await isWaiting('b')()));
      const c = run(client, onGpu('c'), { stepPath: 'c' });
      await until(isWaiting('c'));
      const ended = await client.call('end', {
        runId: PLACE.runId,
        stepPath: 'c',
        token: 1,
        reason: 'cancelled',
      });
      expect(ended).toEqual({ ended: 1 });
      expect(await endOf(c)).toMatchObject({ cause: 'requested', reason: 'cancelled' });
      go('a');
      expect(existsSync(file('b.pid')) || existsSync(file('c.pid'))).toBe(false);
    });
  });
});
