import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { HostCommand } from '../core/host-protocol.js';
import { COMMAND_SHIM, runCommand } from './command.js';
import { probeContainment, type Containment, type ContainmentLevel } from './containment.js';
import { readProcesses } from './process-table.js';

const LEVELS: readonly ContainmentLevel[] = ['pidNamespace', 'cgroup', 'processGroup'];
const found: Containment[] = [];
for (const force of LEVELS) {
  const containment = await probeContainment({ force }).catch(() => null);
  if (containment !== null) found.push(containment);
}

describe.each(found)('a command at level $level', (containment) => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'adit-command-'));
    for (const name of ['out', 'err']) writeFileSync(file(name), '');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const file = (name: string): string => path.join(folder, name);
  const read = (name: string): string => readFileSync(file(name), 'utf8');
  const request = (argv: readonly string[], changes: Partial<HostCommand> = {}): HostCommand => ({
    argv,
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '' },
    stdoutFile: file('out'),
    stderrFile: file('err'),
    timeoutMs: 30_000,
    outputBytes: 1_000_000,
    ...changes,
  });
  const run = (argv: readonly string[], changes: Partial<HostCommand> = {}) =>
    runCommand(request(argv, changes), containment, new AbortController().signal);
  const shell = (script: string, changes: Partial<HostCommand> = {}) =>
    run(['/bin/sh', '-c', script], changes);
  const sleepers = async (seconds: string): Promise<number> => {
    const all = await readProcesses();
    return all.filter(({ pid }) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1') === `sleep\0${seconds}\0`;
      } catch {
        return false;
      }
    }).length;
  };
  const ended = { timedOut: false, tooMuchOutput: false };

  it('gets its arguments, input, directory and environment as they are, and its output goes to the files', async () => {
    writeFileSync(file('in'), 'typed');
    const end = await shell('cat; printf "%s|" "$0" "$@" "$X" "$PWD"; echo bad >&2; exit 7', {
      stdinFile: file('in'),
      env: { PATH: process.env['PATH'] ?? '', X: ' a  b ' },
    });
    expect(end).toEqual({ exitCode: 7, ...ended });
    expect(read('out')).toBe(`typed/bin/sh| a  b |${folder}|`);
    expect(read('err')).toBe('bad\n');
    expect((await run(['printf', '%s|', '$HOME', '', "'", '\n'])).exitCode).toBe(0);
    expect(read('out').endsWith("$HOME||'|\n|")).toBe(true);
  });

  it('has no input when none is given', async () => {
    expect(await run(['cat'])).toEqual({ exitCode: 0, ...ended });
    expect(read('out')).toBe('');
  });

  it.each([0, 1, 2, 125, 126, 128, 129, 255])('tells the status %i as it is', async (status) => {
    expect((await shell(`exit ${status}`)).exitCode).toBe(status);
  });

  it.each(['KILL', 'TERM', 'SEGV'])('has no status when SIG%s ended it', async (name) => {
    expect(await shell(`kill -${name} $$`)).toEqual({ exitCode: null, ...ended });
    expect([read('out'), read('err')]).toEqual(['', '']);
  });

  it('says why it could not be started', async () => {
    writeFileSync(file('plain'), '#!/bin/sh\n');
    chmodSync(file('plain'), 0o644);
    mkdirSync(file('folder'));
    const failed = async (argv: string[], changes: Partial<HostCommand> = {}) =>
      (await run(argv, changes)).spawnError;
    expect(await failed(['no-such-command-here'])).toBe('ENOENT');
    expect(await failed([])).toBe('ENOENT');
    expect(await failed(['./missing'])).toBe('ENOENT');
    expect(await failed(['./plain'])).toBe('EACCES');
    expect(await failed(['./folder'])).toBe('EACCES');
    expect(await failed(['true'], { cwd: file('nowhere') })).toBe('ENOENT');
    expect(await failed(['true'], { cwd: file('out') })).toBe('ENOTDIR');
    expect(await failed(['true', 'a\0b'])).toBe('ERR_INVALID_ARG_VALUE');
    expect(await failed(['true', 'x'.repeat(200_000)])).toBe('E2BIG');
  });

  it('is ended with all that it started when its time is over', async () => {
    const seconds = `401.${process.pid}`;
    const end = await shell(`trap '' TERM; (setsid sleep ${seconds} &); sleep ${seconds}`, {
      timeoutMs: 300,
    });
    expect(end).toEqual({ exitCode: null, timedOut: true, tooMuchOutput: false });
    expect(await sleepers(seconds)).toBe(0);
  });

  it('is ended when it writes more than it may', async () => {
    const end = await run(['yes'], { outputBytes: 100_000 });
    expect(end).toEqual({ exitCode: null, timedOut: false, tooMuchOutput: true });
    const sizeBytes = statSync(file('out')).size;
    await sleep(20);
    expect(statSync(file('out')).size).toBe(sizeBytes);
  });

  it('counts its output also when it has ended by itself', async () => {
    expect(await shell('printf 12345')).toMatchObject({ tooMuchOutput: false });
    expect(await shell('printf 6', { outputBytes: 5 })).toMatchObject({ tooMuchOutput: true });
  });

  it('is ended with all that it started when its connection breaks', async () => {
    const seconds = `402.${process.pid}`;
    const abort = new AbortController();
    const ending = runCommand(
      request([
        '/bin/sh',
        '-c',
        `trap '' TERM; (setsid sleep ${seconds} &); : >ready; sleep ${seconds}`,
      ]),
      containment,
      abort.signal,
    );
    while (!existsSync(file('ready')) || (await sleepers(seconds)) < 2) await sleep(5);
    abort.abort(new Error('the worker is gone'));
    await expect(ending).rejects.toThrow('the worker is gone');
    expect(await sleepers(seconds)).toBe(0);
  });

  it('is not started for a connection that is already broken', async () => {
    const reason = new Error('gone');
    await expect(
      runCommand(request(['touch', 'started']), containment, AbortSignal.abort(reason)),
    ).rejects.toBe(reason);
    expect(existsSync(file('started'))).toBe(false);
  });

  it('leaves nothing behind when it has ended by itself', async () => {
    const seconds = `403.${process.pid}`;
    const end = await shell(`setsid sleep ${seconds} >/dev/null 2>&1 & sleep 0.05; exit 0`);
    expect(end.exitCode).toBe(0);
    expect(await sleepers(seconds)).toBe(0);
  });

  it('throws when a file for its output is not there', async () => {
    rmSync(file('out'));
    await expect(run(['true'])).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('ends when its host dies', async () => {
    const seconds = `404.${process.pid}`;
    const tree = `test-${process.pid}`;
    const argv = ['/bin/sh', '-c', COMMAND_SHIM, 'adit', 'sleep', seconds];
    const [program = '', ...args] = containment.wrap(argv, tree);
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    const word = child.stdio[3] as Writable;
    word.write('go\n');
    while ((await sleepers(seconds)) === 0) await sleep(5);
    // As the kernel does for a host that is killed.
    word.destroy();
    child.stdio[4]?.destroy();
    while ((await sleepers(seconds)) > 0) await sleep(5);
    const cgroup = containment.cgroupOf(tree);
    // A process that has just ended keeps it until its parent has seen that.
    if (cgroup !== null) await vi.waitFor(() => rmdirSync(cgroup), { timeout: 30_000 });
  });
});
