import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import {
  ageMs,
  identify,
  isFork,
  look,
  readPidNamespace,
  readProcesses,
  readStat,
  type ProcessStat,
} from './process-table.js';

describe('the process table', () => {
  it('knows this process, its parent and its namespace', async () => {
    const identity = await identify(process.pid);
    expect(identity).toMatchObject({
      pid: process.pid,
      bootId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      pidNamespace: expect.stringMatching(/^pid:\[\d+\]$/) as string,
    });
    expect(identity?.pidNamespace).toBe(await readPidNamespace('self'));
    expect((await readStat(process.pid))?.parent).toBe(process.ppid);
    expect((await readProcesses()).map(({ pid }) => pid)).toContain(process.pid);
  });

  it('tells a process from a later one with its pid, and from one before the boot', async () => {
    const identity = await identify(process.pid);
    if (identity === null) throw new Error('not alive');
    expect(await look(identity)).toBe('alive');
    expect(await look({ ...identity, startTicks: identity.startTicks + 1 })).toBe('gone');
    expect(await look({ ...identity, bootId: 'another' })).toBe('gone');
    expect(await look({ ...identity, pid: 2 ** 30 })).toBe('gone');
  });

  it('says nothing about a pid that counts in another namespace, unless that was of an earlier boot', async () => {
    const identity = await identify(process.pid);
    if (identity === null) throw new Error('not alive');
    const elsewhere = { ...identity, pidNamespace: 'pid:[1]' };
    expect(await look(elsewhere)).toBe('elsewhere');
    expect(await look({ ...elsewhere, bootId: 'another' })).toBe('gone');
    // As records of version 1, which do not tell.
    expect(await look({ ...identity, pidNamespace: '' })).toBe('alive');
  });

  it('takes a process that has ended for gone while its parent has not asked for it', async () => {
    const parent = spawn('sh', ['-c', 'true & echo $!; kill -STOP $$'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const pid = await new Promise<number>((resolve) =>
      parent.stdout.once('data', (data: Buffer) => resolve(Number(String(data)))),
    );
    while ((await readStat(pid)) !== null);
    expect(await identify(pid)).toBeNull();
    parent.kill('SIGKILL');
  });

  it('reads a process whose name looks like fields', async () => {
    const child = spawn('sh', ['-c', 'echo ") Z 1 (" >/proc/$$/comm; echo ready; read wait'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    expect(await readStat(child.pid ?? 0)).toMatchObject({ parent: process.pid });
    child.kill('SIGKILL');
  });

  it('tells a fork from the program that it became, and knows who is older', async () => {
    // Not by its standard input: what a shell starts beside itself has none.
    const shell = spawn('sh', ['-c', '(read wait <&3; exec sleep 60) & echo $!; wait'], {
      stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    });
    const pid = await new Promise<number>((resolve) =>
      shell.stdout?.once('data', (data: Buffer) => resolve(Number(String(data)))),
    );
    const gate = shell.stdio[3] as Writable;
    const statOf = async (of: number): Promise<ProcessStat> => {
      const stat = await readStat(of);
      if (stat === null) throw new Error('not alive');
      return stat;
    };
    expect(isFork(await statOf(pid))).toBe(true);
    expect(isFork(await statOf(shell.pid ?? 0))).toBe(false);
    expect(ageMs(await statOf(pid))).toBeLessThanOrEqual(ageMs(await statOf(process.pid)));
    gate.write('go\n');
    while (isFork(await statOf(pid)));
    process.kill(pid, 'SIGKILL');
  });
});
