import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createProcesses,
  type ProcessPlace,
  type Processes,
  type RunOptions,
} from './processes.js';
import { SHIM } from './shim.js';

describe('processes', () => {
  let stateDir: string;
  let cwd: string;
  let processes: Processes;

  beforeEach(() => {
    stateDir = mkdtempSync(path.join(tmpdir(), 'adit-processes-'));
    cwd = path.join(stateDir, 'workspace');
    mkdirSync(cwd);
    processes = createProcesses({ stateDir });
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

  const place = (start = 1, scheduledAtMs = 1): ProcessPlace => ({
    runId: 'run-1',
    stepPath: 'candidates#0/trained',
    start,
    scheduledAtMs,
  });
  const options = (changes: Partial<RunOptions> = {}): RunOptions => ({
    place: place(),
    deadlineMs: null,
    signal: new AbortController().signal,
    isShutdown: () => false,
    graceMs: 300,
    ...changes,
  });
  const shell = (command: string) => ({ program: { command }, cwd });
  const file = (name: string): string => path.join(stateDir, name);
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await sleep(10);
  };
  const readPid = (name: string): number => Number(readFileSync(file(name), 'utf8'));
  const lives = (pid: number): boolean => {
    try {
      return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
      return false;
    }
  };

  it('runs a command, keeps both streams in order, and tells how it ended', async () => {
    const ended = await processes.run(
      shell('echo one; echo two >&2; echo three; exit 7'),
      options(),
    );
    expect(ended).toMatchObject({
      end: { kind: 'exited', code: 7 },
      tail: 'one\ntwo\nthree\n',
      adopted: false,
    });
    expect(ended.directory.root).toBe(
      path.join(stateDir, 'runs/run-1/processes/candidates.0@trained/1'),
    );
  });

  it('tells a signal from an exit status', async () => {
    const ended = await processes.run(shell('kill -KILL $$'), options());
    expect(ended.end).toEqual({ kind: 'signalled', signal: 'SIGKILL' });
  });

  it('passes arguments as they are, without a shell', async () => {
    const ended = await processes.run(
      { program: { argv: ['printf', '%s|', '$HOME', 'a b', '; exit 3'] }, cwd },
      options(),
    );
    expect(ended.tail).toBe('$HOME|a b|; exit 3|');
  });

  it('gives a program an environment of its own and records names only', async () => {
    process.env['ADIT_TEST_SECRET'] = 'do not pass on';
    const spec = { ...shell('env | sort'), env: { EXTRA: 'private value' } };
    const ended = await processes.run(spec, options());
    delete process.env['ADIT_TEST_SECRET'];
    const names = ended.tail
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names).toEqual([
      'ADIT_PROCESS_ID',
      'EXTRA',
      'GIT_CEILING_DIRECTORIES',
      'HOME',
      'LANG',
      'LC_ALL',
      'PATH',
      'PIP_DISABLE_PIP_VERSION_CHECK',
      'PWD',
      'PYTHONNOUSERSITE',
    ]);
    expect(ended.tail).toContain(`HOME=${cwd}\n`);
    const record = readFileSync(path.join(ended.directory.root, 'spec.json'), 'utf8');
    expect(record).toContain('EXTRA');
    expect(record).not.toContain('private value');
  });

  it.each([
    ['no-such-command-here', 127],
    ['/etc', 126],
  ])('ends with the status of the shell when %s cannot be run', async (command, code) => {
    expect((await processes.run(shell(command), options())).end).toEqual({ kind: 'exited', code });
  });

  it('says that the directory to run in is not there', async () => {
    await expect(
      processes.run({ program: { command: 'true' }, cwd: file('none') }, options()),
    ).rejects.toMatchObject({ code: 'PROGRAM_UNUSABLE' });
  });

  it('takes the result of an earlier attempt of the same start, without running anything', async () => {
    const spec = shell(`echo run >> ${file('count')}; exit 3`);
    await processes.run({ ...spec, volatileEnv: { ADIT_DEADLINE: '1' } }, options());
    let prepared = false;
    const again = await createProcesses({ stateDir }).run(
      { ...spec, volatileEnv: { ADIT_DEADLINE: '2' } },
      options({
        place: place(1, 2),
        prepare: async () => {
          prepared = true;
        },
      }),
    );
    expect(again).toMatchObject({ end: { kind: 'exited', code: 3 }, adopted: true });
    expect(prepared).toBe(false);
    expect(readFileSync(file('count'), 'utf8')).toBe('run\n');
  });

  it('runs again in a new start, and when the spec differs', async () => {
    const count = `echo run >> ${file('count')}`;
    await processes.run(shell(count), options());
    await processes.run(shell(count), options({ place: place(2) }));
    await processes.run({ ...shell(count), env: { A: '1' } }, options({ place: place(2) }));
    expect(readFileSync(file('count'), 'utf8')).toBe('run\nrun\nrun\n');
  });

  it('leaves a program running on worker shutdown; the next attempt ends it before it starts another', async () => {
    const spec = shell(`echo $$ > ${file('pid')}; touch ${file('started')}; sleep 60`);
    const controller = new AbortController();
    const reason = new Error('shutdown');
    const first = processes.run(
      spec,
      options({ signal: controller.signal, isShutdown: () => true }),
    );
    await until(() => existsSync(file('started')));
    controller.abort(reason);
    await expect(first).rejects.toBe(reason);
    const pid = readPid('pid');
    expect(lives(pid)).toBe(true);

    const second = await createProcesses({ stateDir }).run(
      shell('echo second'),
      options({
        place: place(1, 2),
        prepare: async () => {
          expect(lives(pid)).toBe(false);
        },
      }),
    );
    expect(second).toMatchObject({ tail: 'second\n', adopted: false });
    expect(lives(pid)).toBe(false);
  });

  it('does not take the exit of a program that was ended from outside for a result', async () => {
    const spec = shell(
      `echo run >> ${file('count')}; [ $(wc -l < ${file('count')}) = 2 ] || sleep 60`,
    );
    const controller = new AbortController();
    const first = processes.run(spec, options({ signal: controller.signal }));
    await until(() => existsSync(file('count')));
    controller.abort(new Error('cancelled'));
    await expect(first).rejects.toThrow('cancelled');
    const again = await processes.run(spec, options({ place: place(1, 2) }));
    expect(again).toMatchObject({ end: { kind: 'exited', code: 0 }, adopted: false });
  });

  it('an older attempt does not touch the program of a newer one', async () => {
    await processes.run(shell('true'), options({ place: place(1, 200) }));
    await expect(
      processes.run(shell('true'), options({ place: place(1, 100) })),
    ).rejects.toMatchObject({
      code: 'PROGRAM_LOST',
    });
  });

  it('on cancel ends the whole tree: who ignores TERM, who leaves the group, who clears its environment', async () => {
    const spec = shell(
      [
        `(trap '' TERM; echo $(exec sh -c 'echo $PPID') > ${file('stubborn')}; while :; do sleep 1; done) &`,
        `setsid sh -c 'echo $$ > ${file('escaped')}; sleep 60' &`,
        `env -i sh -c 'echo $$ > ${file('cleared')}; sleep 60' &`,
        `while [ ! -s ${file('stubborn')} ] || [ ! -s ${file('escaped')} ] || [ ! -s ${file('cleared')} ]; do sleep 0.02; done`,
        `touch ${file('started')}; wait`,
      ].join('\n'),
    );
    const controller = new AbortController();
    const reason = new Error('cancelled');
    const running = processes.run(spec, options({ signal: controller.signal }));
    await until(() => existsSync(file('started')));
    const pids = ['stubborn', 'escaped', 'cleared'].map(readPid);
    expect(pids.map(lives)).toEqual([true, true, true]);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(pids.map(lives)).toEqual([false, false, false]);
  });

  it('gives a program the time to end well after TERM', async () => {
    const spec = shell(
      `trap 'echo saved > ${file('checkpoint')}; exit 0' TERM; touch ${file('started')}; while :; do sleep 0.02; done`,
    );
    const controller = new AbortController();
    const running = processes.run(spec, options({ signal: controller.signal, graceMs: 10_000 }));
    await until(() => existsSync(file('started')));
    controller.abort(new Error('cancelled'));
    await expect(running).rejects.toThrow('cancelled');
    expect(readFileSync(file('checkpoint'), 'utf8')).toBe('saved\n');
  });

  it('ends what a program leaves behind', async () => {
    await processes.run(shell(`sleep 60 & echo $! > ${file('pid')}`), options());
    expect(lives(readPid('pid'))).toBe(false);
  });

  it('ends a program at its deadline', async () => {
    const spec = shell(`echo $$ > ${file('pid')}; echo working; sleep 60`);
    const deadlineMs = Date.now() + 400;
    await expect(processes.run(spec, options({ deadlineMs }))).rejects.toMatchObject({
      code: 'PROGRAM_TIMEOUT',
      message: 'The program did not end within the time of its step, and was ended.',
      hint: expect.stringContaining('working') as string,
    });
    expect(lives(readPid('pid'))).toBe(false);
  });

  it('says that a program is lost when its shim was killed, and leaves nothing running', async () => {
    const spec = shell(
      `echo $PPID > ${file('shim')}; echo $$ > ${file('pid')}; touch ${file('started')}; sleep 60`,
    );
    const running = processes.run(spec, options());
    const assertion = expect(running).rejects.toMatchObject({ code: 'PROGRAM_LOST' });
    await until(() => existsSync(file('started')));
    process.kill(readPid('shim'), 'SIGKILL');
    await assertion;
    expect(lives(readPid('pid'))).toBe(false);
  });

  it('runs nothing when the worker dies before the owner is recorded', async () => {
    const run = path.join(stateDir, 'alone');
    mkdirSync(run);
    // The word never comes: the other end of the pipe is closed.
    expect(() =>
      execFileSync('/bin/sh', [
        '-c',
        `exec 3</dev/null\n${SHIM}`,
        'shim',
        run,
        'touch',
        file('ran'),
      ]),
    ).toThrow(expect.objectContaining({ status: 125 }) as Error);
    expect(existsSync(file('ran'))).toBe(false);
  });

  it('reports new output and metrics while the program runs', async () => {
    const directory = processes.directory(place());
    const seen = { output: '', metrics: '' };
    const spec = {
      ...shell(
        `echo step=1; while [ ! -e ${file('go')} ]; do sleep 0.02; done; echo step=2; echo '{"loss":1}' > $M`,
      ),
      env: { M: directory.metricsFile },
    };
    await processes.run(
      spec,
      options({
        onText(source, text) {
          seen[source] += text;
          if (seen.output === 'step=1\n') writeFileSync(file('go'), '');
        },
      }),
    );
    expect(seen).toEqual({ output: 'step=1\nstep=2\n', metrics: '{"loss":1}\n' });
  });

  it('keeps head and tail of a long output', async () => {
    const ended = await processes.run(
      shell('echo first; head -c 300000 /dev/zero | tr "\\0" x; echo; echo last'),
      options(),
    );
    const text = await processes.readOutput(ended, 10_000);
    expect(text.length).toBeLessThan(10_100);
    expect(text).toMatch(/^first\nx+\n… \d+ bytes left out …\nx+\nlast\n$/);
    expect(await processes.boundedLog(ended)).toBe(ended.directory.log);
  });

  it('hands out an output file only when it is a real one inside the output directory', async () => {
    const ended = await processes.run(
      {
        ...shell('cd $OUT; echo data > good; : > empty; mkdir folder; ln -s /etc/passwd link'),
        env: { OUT: processes.directory(place()).outputDir },
      },
      options(),
    );
    const of = (name: string) => processes.outputFile(ended.directory, name);
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
    const directory = processes.directory(place());
    await processes.run(
      { ...shell(`ln -s /etc/passwd $F`), env: { F: directory.outputsFile } },
      options(),
    );
    await expect(processes.readOutputs(directory, 1_000)).rejects.toMatchObject({
      code: 'OUTPUT_MISSING',
    });
  });

  it('ends the program of an earlier start before it starts another', async () => {
    const controller = new AbortController();
    const first = processes.run(
      shell(`echo $$ > ${file('pid')}; touch ${file('started')}; sleep 60`),
      options({ signal: controller.signal, isShutdown: () => true }),
    );
    await until(() => existsSync(file('started')));
    controller.abort(new Error('lost'));
    await expect(first).rejects.toThrow('lost');
    const pid = readPid('pid');
    expect(lives(pid)).toBe(true);
    const second = await createProcesses({ stateDir }).run(
      shell('echo second'),
      options({
        place: place(2, 2),
        prepare: async () => {
          expect(lives(pid)).toBe(false);
        },
      }),
    );
    expect(second.tail).toBe('second\n');
  });

  it('an older attempt does not start a program while a newer start has one', async () => {
    await processes.run(shell('true'), options({ place: place(2, 200) }));
    await expect(
      processes.run(shell(`touch ${file('ran')}`), options({ place: place(1, 100) })),
    ).rejects.toMatchObject({ code: 'PROGRAM_LOST' });
    expect(existsSync(file('ran'))).toBe(false);
  });

  it('ends a program also when it can no longer be noted, as on a full disk', async () => {
    const controller = new AbortController();
    const running = processes.run(
      shell(`echo $$ > ${file('pid')}; touch ${file('started')}; sleep 60`),
      options({ signal: controller.signal }),
    );
    await until(() => existsSync(file('started')));
    const { root } = processes.directory(place());
    rmSync(path.join(root, 'ending.json'), { force: true });
    mkdirSync(path.join(root, 'ending.json'));
    const reason = new Error('cancelled');
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(lives(readPid('pid'))).toBe(false);
  });

  it('notes in a reserved block that it ended a program', async () => {
    const running = processes.run(
      shell(`touch ${file('started')}; sleep 60`),
      options({ deadlineMs: Date.now() + 400 }),
    );
    const assertion = expect(running).rejects.toMatchObject({ code: 'PROGRAM_TIMEOUT' });
    await until(() => existsSync(file('started')));
    const ending = path.join(processes.directory(place()).root, 'ending.json');
    const before = statSync(ending);
    await assertion;
    expect(statSync(ending)).toMatchObject({ ino: before.ino, size: before.size });
    expect(JSON.parse(readFileSync(ending, 'utf8'))).toMatchObject({ cause: 'time limit' });
  });

  it('takes the exit of a program although a frozen worker noted the end of the one before it', async () => {
    const spec = shell(
      `touch ${file('started')}; while [ ! -e ${file('go')} ]; do sleep 0.02; done`,
    );
    const running = processes.run(spec, options());
    await until(() => existsSync(file('started')));
    writeFileSync(
      path.join(processes.directory(place()).root, 'ending.json'),
      JSON.stringify({ version: 1, marker: 'of another program', cause: 'cancelled' }),
    );
    writeFileSync(file('go'), '');
    expect(await running).toMatchObject({ end: { kind: 'exited', code: 0 } });
  });
});
