import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StepError } from '../../core/error.js';
import type { ProgramEvent, ProgramLimits, ProgramPlace } from '../../core/host-protocol.js';
import type { Expr } from '../../core/expression.js';
import { createTestHost, type TestHost } from '../../test/fakes/process-host.js';
import { isProcessAlive } from '../../test/support/processes.js';
import { until as untilIt } from '../../test/support/until.js';
import { readMetricCondition } from '../../compiler/metric-condition.js';
import { createProcesses, type Processes, type RunOptions } from './processes.js';

const until = (condition: () => boolean | Promise<boolean>): Promise<unknown> =>
  untilIt('what the test waits for', condition);

function condition(text: string): Expr {
  const compiled = readMetricCondition(text);
  if ('expr' in compiled) return compiled.expr;
  throw new Error(compiled.problem);
}

describe('processes', () => {
  let stateDir: string;
  let cwd: string;
  let host: TestHost;
  let opened: Processes[];
  let processes: Processes;

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'adit-processes-'));
    cwd = path.join(stateDir, 'workspace');
    mkdirSync(cwd);
    host = createTestHost(stateDir);
    opened = [];
    processes = anotherWorker();
  });
  afterEach(async () => {
    for (const each of opened) each.close();
    await host.close();
    rmSync(stateDir, { recursive: true, force: true });
  });

  const anotherWorker = (startHost: (() => Promise<void>) | null = host.startHost): Processes => {
    const made = createProcesses({ stateDir, server: null, startHost });
    opened.push(made);
    return made;
  };
  const place = (start = 1): ProgramPlace => ({
    runId: 'run-1',
    stepPath: 'candidates#0/trained',
    start,
  });
  const limits = (changes: Partial<ProgramLimits> = {}): ProgramLimits => ({
    stepMs: null,
    graceMs: 300,
    minFreeBytes: 0,
    outputBytes: 64 * 1024 * 1024,
    ...changes,
  });
  const options = (changes: Partial<RunOptions> = {}): RunOptions => ({
    place: place(),
    token: 1,
    limits: limits(),
    signal: new AbortController().signal,
    ...changes,
  });
  const shell = (command: string) => ({ program: { command }, cwd });
  const file = (name: string): string => path.join(stateDir, name);
  const readPid = (name: string): number => Number(readFileSync(file(name), 'utf8'));
  const started = (): Promise<unknown> => until(() => existsSync(file('started')));
  /** Writes its pid, then waits for the file `go`. */
  const waits = (then = ''): string =>
    `echo $$ > ${file('pid')}; echo run >> ${file('count')}; touch ${file('started')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done; ${then}`;
  const go = (): void => writeFileSync(file('go'), '');
  const starts = (): string => readFileSync(file('count'), 'utf8');

  it('runs a command, keeps both streams in order, and tells how it ended', async () => {
    const ended = await processes.run(
      shell('echo one; echo two >&2; echo three; exit 7'),
      options(),
    );
    expect(ended).toMatchObject({
      exit: { kind: 'exited', code: 7 },
      tail: 'one\ntwo\nthree\n',
      adopted: false,
    });
    expect(ended.stoppedBy).toBeUndefined();
    expect(ended.files.root).toBe(
      path.join(stateDir, 'runs/run-1/processes/candidates.0@trained/1'),
    );
  });

  it('tells a signal from an exit status', async () => {
    const ended = await processes.run(shell('kill -KILL $$'), options());
    expect(ended.exit).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
  });

  it('passes arguments as they are, without a shell', async () => {
    const ended = await processes.run(
      { program: { argv: ['printf', '%s|', '$HOME', 'a b', '; exit 3'] }, cwd },
      options(),
    );
    expect(ended.tail).toBe('$HOME|a b|; exit 3|');
  });

  it('gives a program an environment of its own, and keeps its values from the records', async () => {
    process.env['ADIT_TEST_SECRET'] = 'do not pass on';
    const spec = { ...shell('env | sort'), env: { EXTRA: 'private value' } };
    const ended = await processes.run(spec, options());
    delete process.env['ADIT_TEST_SECRET'];
    const names = ended.tail
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names.filter((name) => !['ADIT_PROCESS_ID', 'PWD'].includes(name ?? ''))).toEqual([
      'EXTRA',
      'GIT_CEILING_DIRECTORIES',
      'HOME',
      'LANG',
      'LC_ALL',
      'PATH',
      'PIP_DISABLE_PIP_VERSION_CHECK',
      'PYTHONNOUSERSITE',
    ]);
    expect(ended.tail).toContain(`HOME=${cwd}\n`);
    const record = readFileSync(path.join(ended.files.root, 'spec.json'), 'utf8');
    expect(record).toContain('EXTRA');
    expect(record).not.toContain('private value');
  });

  it.each([
    ['no-such-command-here', 127],
    ['/etc', 126],
  ])('ends with the status of the shell when %s cannot be run', async (command, code) => {
    expect((await processes.run(shell(command), options())).exit).toEqual({ kind: 'exited', code });
  });

  it('says that the directory to run in is not there', async () => {
    await expect(
      processes.run({ program: { command: 'true' }, cwd: file('none') }, options()),
    ).rejects.toMatchObject({ code: 'PROGRAM_UNUSABLE' });
  });

  it('takes the result of an earlier attempt of the same start, without running anything', async () => {
    const spec = shell(`echo run >> ${file('count')}; exit 3`);
    await processes.run(spec, options());
    let prepared = false;
    const again = await anotherWorker().run(
      spec,
      options({
        token: 2,
        prepare: async () => {
          prepared = true;
        },
      }),
    );
    expect(again).toMatchObject({ exit: { kind: 'exited', code: 3 }, adopted: true });
    expect(prepared).toBe(false);
    expect(starts()).toBe('run\n');
  });

  it('runs again in a new start, and prepares it before', async () => {
    const count = `echo run >> ${file('count')}`;
    await processes.run(shell(count), options());
    let before = '';
    await processes.run(
      shell(count),
      options({
        place: place(2),
        token: 2,
        prepare: async () => {
          before = starts();
        },
      }),
    );
    expect([before, starts()]).toEqual(['run\n', 'run\nrun\n']);
  });

  it('starts nothing when the preparation fails', async () => {
    const failure = new StepError('WORKSPACE_CHANGED', 'changed');
    const running = processes.run(
      shell(`touch ${file('ran')}`),
      options({ prepare: () => Promise.reject(failure) }),
    );
    await expect(running).rejects.toBe(failure);
    expect(existsSync(file('ran'))).toBe(false);
  });

  it('leaves the program when it is aborted; the next attempt follows it to its end', async () => {
    const controller = new AbortController();
    const reason = new Error('shutdown');
    const spec = shell(waits('exit 5'));
    const first = processes.run(spec, options({ signal: controller.signal }));
    await started();
    controller.abort(reason);
    await expect(first).rejects.toBe(reason);
    expect(await isProcessAlive(readPid('pid'))).toBe(true);

    const second = anotherWorker().run(spec, options({ token: 2 }));
    go();
    expect(await second).toMatchObject({ exit: { kind: 'exited', code: 5 }, adopted: true });
    expect(starts()).toBe('run\n');
  });

  it('goes on with the program when the host is lost in the middle', async () => {
    const events: ProgramEvent[] = [];
    const running = processes.run(
      shell(waits('exit 4')),
      options({ onEvent: (event) => events.push(event) }),
    );
    await started();
    await host.lose();
    const before = events.length;
    await until(() => events.slice(before).some((event) => event.kind === 'running'));
    go();
    expect(await running).toMatchObject({ exit: { kind: 'exited', code: 4 } });
    expect(host.hosts.length).toBe(2);
    expect(starts()).toBe('run\n');
  });

  it('finds the result of a program that ended while no host lived', async () => {
    let mayStartHost = true;
    const patient = anotherWorker(async () => {
      if (mayStartHost) await host.startHost();
    });
    const running = patient.run(shell(waits(`touch ${file('ended')}; exit 6`)), options());
    await started();
    mayStartHost = false;
    await host.lose();
    go();
    await until(() => existsSync(file('ended')));
    const pid = readPid('pid');
    await until(async () => !(await isProcessAlive(pid)));
    mayStartHost = true;
    expect(await running).toMatchObject({ exit: { kind: 'exited', code: 6 } });
    expect(starts()).toBe('run\n');
  });

  it('says that no host runs where none may be started', async () => {
    await expect(anotherWorker(null).list()).rejects.toMatchObject({
      code: 'HOST_UNAVAILABLE',
      message: `No process host runs for ${stateDir}.`,
    });
  });

  it('says why a host cannot be started', async () => {
    const failure = new StepError('HOST_UNUSABLE', 'The state folder lies on a network disk.');
    const unlucky = anotherWorker(() => Promise.reject(failure));
    await expect(unlucky.run(shell('true'), options())).rejects.toBe(failure);
    await expect(unlucky.info()).rejects.toBe(failure);
  });

  it('yields to an attempt that was scheduled later', async () => {
    await processes.run(shell('true'), options({ place: place(2), token: 200 }));
    await expect(
      processes.run(shell(`touch ${file('ran')}`), options({ token: 100 })),
    ).rejects.toMatchObject({ code: 'PROGRAM_TAKEN_OVER' });
    expect(existsSync(file('ran'))).toBe(false);
  });

  it.each([
    ['paused', 'PROGRAM_PAUSED', 'The program was ended because its step was paused.'],
    ['cancelled', 'PROGRAM_LOST', 'The program was ended (cancelled) before this attempt.'],
  ] as const)(
    'ends the program of a step that is %s, and tells the next attempt',
    async (reason, code, message) => {
      const controller = new AbortController();
      const spec = shell(waits());
      const running = processes.run(spec, options({ signal: controller.signal }));
      await started();
      controller.abort(new Error(reason));
      await expect(running).rejects.toThrow(reason);
      const { runId, stepPath } = place();
      await processes.endStep({ runId, stepPath, token: 1, reason });
      expect(await isProcessAlive(readPid('pid'))).toBe(false);
      await expect(processes.run(spec, options({ token: 2 }))).rejects.toMatchObject({
        code,
        message,
      });
      expect(starts()).toBe('run\n');
    },
  );

  it('ends the programs of a run for a person, and says so to the step', async () => {
    const running = processes.run(shell(waits()), options());
    const failed = expect(running).rejects.toMatchObject({
      code: 'PROGRAM_KILLED',
      message: 'The program was ended by a person.',
    });
    await started();
    expect(await processes.endRun('run-1', 'killed')).toBe(1);
    await failed;
    expect(await processes.endRun('run-1', 'killed')).toBe(0);
  });

  it.each([
    [
      'PROGRAM_TIMEOUT',
      'The program did not end within the time of its step (1.5 s), and was ended.',
      { limits: { stepMs: 1_500 } },
    ],
    [
      'ATTEMPT_TIMEOUT',
      'The program did not end within the time of one try (1.5 s), and was ended.',
      { limits: { stepMs: 60_000, startMs: 1_500 } },
    ],
    [
      'PROGRAM_STALLED',
      'The program wrote neither output nor metrics for 0.6 s, and was ended.',
      { watch: { stalledAfterMs: 300 } },
    ],
  ])('ends a program with %s', async (code, message, changes) => {
    const running = processes.run(
      shell(`echo $$ > ${file('pid')}; echo working; sleep 60`),
      options({
        limits: limits('limits' in changes ? changes.limits : {}),
        ...('watch' in changes ? { watch: changes.watch } : {}),
      }),
    );
    await expect(running).rejects.toMatchObject({
      code,
      message,
      hint: expect.stringMatching(
        /Its last output: working .*\(all of it: .*\/output\/log\)$/,
      ) as string,
    });
    expect(await isProcessAlive(readPid('pid'))).toBe(false);
  });

  it('tells a result from an end when the host stopped it well', async () => {
    const rule = await processes.run(
      shell('trap "exit 3" TERM; echo loss=1.5; while :; do sleep 0.02; done'),
      options({
        limits: limits({ graceMs: 20_000 }),
        watch: {
          stopWhen: {
            expr: condition('metrics.loss < 2'),
            patience: 1,
          },
        },
      }),
    );
    expect(rule).toMatchObject({
      stoppedBy: 'rule',
      exit: { kind: 'exited', code: 3 },
      metrics: { loss: 1.5 },
    });
    const deadline = await processes.run(
      shell(`echo training; trap "" TERM; while :; do sleep 0.02; done`),
      options({
        place: place(2),
        token: 2,
        limits: limits({ deadlineMs: Date.now() + 2_000, graceMs: 50 }),
      }),
    );
    expect(deadline).toMatchObject({
      stoppedBy: 'deadline',
      exit: { kind: 'signalled', signal: 'SIGKILL' },
    });
  });

  it('tells what it waits for and what it does while it runs, and lists it', async () => {
    const events: ProgramEvent[] = [];
    const running = processes.run(
      shell(`echo step=3 loss=2.5; ${waits()}`),
      options({ onEvent: (event) => events.push(event) }),
    );
    await until(() =>
      events.some((event) => event.kind === 'running' && event.status['step'] === 3),
    );
    expect(await processes.list()).toMatchObject([
      { ...place(), state: 'running', status: { step: 3, loss: 2.5 } },
    ]);
    go();
    expect((await running).metrics).toMatchObject({ step: 3, loss: 2.5 });
    expect(await processes.list()).toEqual([]);
  });

  it('moves the limit of a program that runs', async () => {
    const running = processes.run(shell(waits()), options({ limits: limits({ stepMs: 60_000 }) }));
    await started();
    const { runId, stepPath } = place();
    const first = await processes.extend({ runId, stepPath, byMs: 60_000 });
    const second = await processes.extend({ runId, stepPath, byMs: 3_600_000 });
    expect((second ?? 0) - (first ?? 0)).toBe(3_600_000);
    go();
    await running;
  });

  it('ends the host only when no program lives, or when they may be left', async () => {
    const running = processes.run(shell(waits('exit 2')), options());
    await started();
    await expect(anotherWorker(null).shutdownHost({ leavePrograms: false })).rejects.toThrow();
    await anotherWorker(null).shutdownHost({ leavePrograms: true });
    await host.hosts[0]?.closed;
    go();
    expect(await running).toMatchObject({ exit: { kind: 'exited', code: 2 } });
  });

  it('runs a short command with its input and output in files, and ends it when it is aborted', async () => {
    const command = (text: string) => ({
      argv: ['/bin/sh', '-c', text],
      cwd,
      env: { PATH: process.env['PATH'] ?? '' },
      stdinFile: file('in'),
      stdoutFile: file('out'),
      stderrFile: file('err'),
      timeoutMs: 60_000,
      outputBytes: 1_000_000,
    });
    for (const name of ['in', 'out', 'err']) writeFileSync(file(name), name);
    writeFileSync(file('out'), '');
    writeFileSync(file('err'), '');
    expect(await processes.command(command('cat; echo oops >&2; exit 3'))).toMatchObject({
      exitCode: 3,
      timedOut: false,
    });
    expect([readFileSync(file('out'), 'utf8'), readFileSync(file('err'), 'utf8')]).toEqual([
      'in',
      'oops\n',
    ]);
    const controller = new AbortController();
    const reason = new Error('cancelled');
    const running = processes.command(command(waits()), controller.signal);
    await started();
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    const pid = readPid('pid');
    await until(async () => !(await isProcessAlive(pid)));
  });

  it('finds a living host for a command again when the one before was lost', async () => {
    await processes.info();
    await host.lose();
    writeFileSync(file('out'), '');
    let exitCode: number | null = null;
    // Until the loss shows on the connection a command cannot know of it.
    await until(async () => {
      const end = await processes
        .command({
          argv: ['true'],
          cwd,
          env: { PATH: process.env['PATH'] ?? '' },
          stdoutFile: file('out'),
          stderrFile: file('out'),
          timeoutMs: 60_000,
          outputBytes: 1_000_000,
        })
        .catch((error: unknown) => {
          if (error instanceof StepError && error.code === 'HOST_UNAVAILABLE') return null;
          throw error;
        });
      exitCode = end?.exitCode ?? null;
      return end !== null;
    });
    expect([exitCode, host.hosts.length]).toEqual([0, 2]);
  });

  it('keeps head and tail of a long output', async () => {
    const ended = await processes.run(
      shell('echo first; head -c 300000 /dev/zero | tr "\\0" x; echo; echo last'),
      options(),
    );
    const text = await processes.readOutput(ended, 10_000);
    expect(text.length).toBeLessThan(10_100);
    expect(text).toMatch(/^first\nx+\n… \d+ bytes left out …\nx+\nlast\n$/);
    expect(await processes.boundedLog(ended)).toBe(ended.files.log);
  });

  it('hands out an output file only when it is a real one inside the output directory', async () => {
    const ended = await processes.run(
      {
        ...shell('cd $OUT; echo data > good; : > empty; mkdir folder; ln -s /etc/passwd link'),
        env: { OUT: processes.files(place()).outputDir },
      },
      options(),
    );
    const of = (name: string) => processes.outputFile(ended.files, name);
    expect(await of('good')).toMatchObject({ sizeBytes: 5 });
    for (const [name, why] of [
      ['none', 'does not exist'],
      ['empty', 'is empty'],
      ['folder', 'is no regular file'],
      ['link', 'leads out of the output directory'],
      ['../spec.json', 'leads out of the output directory'],
    ] as const) {
      await expect(of(name)).rejects.toMatchObject({
        code: 'OUTPUT_MISSING',
        message: `The program's output file ${name} ${why}.`,
      });
    }
  });

  it('gives equal inputs of a round the same checkpoint directory', async () => {
    const of = (inputs: { tree: string }, roundId = 'round-1') =>
      processes.checkpointDirectory({ roundId, stepPath: 'trained', inputs });
    expect(await of({ tree: 'a' })).toBe(await of({ tree: 'a' }));
    expect(await of({ tree: 'a' })).not.toBe(await of({ tree: 'b' }));
    expect(await of({ tree: 'a' })).toContain(
      path.join('runs', 'round-1', 'checkpoints', 'trained'),
    );
  });

  it('does not follow a link that stands in place of the outputs file', async () => {
    const { outputsFile } = processes.files(place());
    const ended = await processes.run(
      { ...shell(`ln -s /etc/passwd $F`), env: { F: outputsFile } },
      options(),
    );
    await expect(processes.readOutputs(ended.files, 1_000)).rejects.toMatchObject({
      code: 'OUTPUT_MISSING',
    });
  });
});
