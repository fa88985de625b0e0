import { spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createDevices,
  prepareSharedFolder,
  type Devices,
  type DevicesOptions,
} from './devices.js';
import { mapProcesses, readProcFile } from './process-table.js';

const A = 'GPU-aaaaaaaa-0000-0000-0000-000000000000';
const B = 'GPU-bbbbbbbb-0000-0000-0000-000000000000';

describe('devices', () => {
  let folder: string;
  let lockFolder: string;
  let searched: string | undefined;
  let remarks: string[];
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'adit-devices-'));
    lockFolder = path.join(folder, 'locks');
    remarks = [];
    searched = process.env['PATH'];
    process.env['PATH'] = `${folder}:${searched}`;
  });
  afterEach(() => {
    process.env['PATH'] = searched;
    rmSync(folder, { recursive: true, force: true });
  });

  const create = (options: Partial<DevicesOptions> = {}): Devices =>
    createDevices({ lockFolder, onRemark: (text) => remarks.push(text), ...options });
  /** nvidia-smi as far as this machine has none: a program of that name. */
  const provideSmi = (script: string): void =>
    writeFileSync(path.join(folder, 'nvidia-smi'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const TWO_GPUS = `case $1 in
    --query-gpu=*) printf '0, ${A}\\n1, ${B}\\n';;
    *) cat "$(dirname "$0")/uses" 2>/dev/null;;
  esac; exit 0`;
  const lease = async (devices: Devices, count: number, holder = 'run r, step s') => {
    const leased = await devices.tryLease(count, holder);
    if ('waitingFor' in leased) throw new Error(leased.waitingFor);
    return leased;
  };
  const isSleeping = async (seconds: string): Promise<boolean> =>
    (await mapProcesses(({ pid }) => readProcFile(`/proc/${pid}/cmdline`))).includes(
      `sleep\0${seconds}\0`,
    );
  const close = async (leased: { locks: { close(): Promise<void> }[] }): Promise<void> => {
    for (const lock of leased.locks) await lock.close();
  };

  it('are those of the setting, and each is leased once', async () => {
    const devices = create({ ids: ['x', 'y'] });
    expect(await devices.total()).toBe(2);
    const first = await lease(devices, 1, 'run one, step train');
    expect(first.ids).toEqual(['x']);
    const second = await lease(devices, 1, 'run two, step train');
    expect(second.ids).toEqual(['y']);
    expect(await devices.tryLease(1, 'run three')).toEqual({
      waitingFor: 'one of the devices x (run one, step train), y (run two, step train)',
    });
    expect(await devices.list()).toEqual([
      { id: 'x', state: 'leased', holder: 'run one, step train' },
      { id: 'y', state: 'leased', holder: 'run two, step train' },
    ]);
    await close(first);
    expect(await devices.list()).toMatchObject([{ id: 'x', state: 'free' }, { id: 'y' }]);
    await close(second);
  });

  it('are leased together or not at all', async () => {
    const devices = create({ ids: ['x', 'y', 'z'] });
    const one = await lease(devices, 1, 'run one');
    expect(await devices.tryLease(3, 'run two')).toEqual({ waitingFor: 'device x (run one)' });
    const two = await lease(devices, 2, 'run three');
    expect(two.ids).toEqual(['y', 'z']);
    await close(one);
    await close(two);
  });

  it('are given to one of many hosts that ask at once', async () => {
    const hosts = Array.from({ length: 6 }, () => create({ ids: ['x', 'y'] }));
    const answers = await Promise.all(hosts.map((host) => host.tryLease(1, 'someone')));
    const leased = answers.filter((answer) => 'ids' in answer);
    expect(leased.flatMap(({ ids }) => ids).sort()).toEqual(['x', 'y']);
    for (const one of leased) await close(one);
  });

  it('stay leased for as long as the program has the descriptor, whatever becomes of the host', async () => {
    const devices = create({ ids: ['x'] });
    const leased = await lease(devices, 1);
    const program = spawn('sleep', ['300.8'], {
      stdio: ['ignore', 'ignore', 'ignore', ...leased.locks.map(({ fd }) => fd)],
    });
    await new Promise((resolve) => program.once('spawn', resolve));
    await close(leased);
    const other = create({ ids: ['x'] });
    expect(await other.tryLease(1, 'another host')).toEqual({
      waitingFor: 'device x (run r, step s)',
    });
    program.kill('SIGKILL');
    while ((await other.list())[0]?.state !== 'free') await sleep(5);
    await close(await lease(other, 1));
  });

  it('says so when more are asked for than there are', async () => {
    expect(await create({ ids: ['x'] }).tryLease(2, 'r')).toEqual({
      waitingFor: '2 devices, of which this host has 1',
    });
  });

  it('come from nvidia-smi without a setting', async () => {
    provideSmi(TWO_GPUS);
    const devices = create();
    const leased = await lease(devices, 2);
    expect(leased.ids).toEqual([A, B]);
    await close(leased);
    expect(remarks).toEqual([]);
  });

  it('have one lock each, whether a host calls them by number or by name', async () => {
    provideSmi(TWO_GPUS);
    const leased = await lease(create({ ids: ['1'] }), 1, 'by number');
    expect(leased.ids).toEqual(['1']);
    expect(await create({ ids: [B] }).tryLease(1, 'by name')).toEqual({
      waitingFor: `device ${B} (by number)`,
    });
    expect(await create({ ids: ['1', B] }).total()).toBe(1);
    await close(leased);
  });

  it('are never shared because nvidia-smi answered one of two hosts only', async () => {
    provideSmi('exit 9');
    const early = await lease(create({ ids: ['0'] }), 1, 'before the driver');
    provideSmi(TWO_GPUS);
    const late = await lease(create(), 1, 'with the driver');
    expect(late.ids).toEqual([B]);
    provideSmi('exit 9');
    expect(await create({ ids: ['0', '1'] }).tryLease(1, 'while it hangs')).toEqual({
      waitingFor: 'one of the devices 0 (before the driver), 1 (with the driver)',
    });
    await close(early);
    await close(late);
  });

  it('are still known when nvidia-smi fails later', async () => {
    provideSmi(TWO_GPUS);
    const devices = create();
    expect(await devices.total()).toBe(2);
    provideSmi('exit 9');
    const now = performance.now();
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now + 11 * 60_000);
    try {
      expect(await devices.total()).toBe(2);
    } finally {
      clock.mockRestore();
    }
    expect(remarks).toEqual([]);
  });

  it('are left to somebody else who computes on them, and are free when that has ended', async () => {
    provideSmi(TWO_GPUS);
    const stranger = spawn('sleep', ['300.9'], { stdio: 'ignore' });
    const uses = path.join(folder, 'uses');
    writeFileSync(uses, `${A}, ${stranger.pid}\n`);
    const devices = create();
    expect(await devices.list()).toEqual([
      { id: A, state: 'foreign', holder: `process ${stranger.pid}, which Adit did not start` },
      { id: B, state: 'free' },
    ]);
    expect(await devices.tryLease(2, 'r')).toEqual({
      waitingFor: `device ${A} (process ${stranger.pid}, which Adit did not start)`,
    });
    const leased = await lease(devices, 1);
    expect(leased.ids).toEqual([B]);
    await close(leased);
    stranger.kill('SIGKILL');
    await new Promise((resolve) => stranger.once('exit', resolve));
    writeFileSync(uses, '');
    expect(await devices.list()).toMatchObject([{ state: 'free' }, { state: 'free' }]);
  });

  it.each([
    [
      'prints nonsense',
      'echo "NVIDIA-SMI has failed because it could not talk"',
      'printed what is no answer: "NVIDIA-SMI has failed',
    ],
    ['prints numbers that are no devices', 'echo "0, 0"', 'printed what is no answer: "0, 0"'],
    ['fails', 'echo "No devices were found"; exit 6', 'ended with 6: "No devices were found"'],
    ['kills itself', 'kill -SEGV $$', 'ended with a signal'],
    ['prints without end', 'yes', 'printed more than 1048576 bytes'],
    ['prints bytes', 'head -c 3000 /dev/urandom', 'printed what is no answer'],
    ['hangs', 'sleep 301.5', 'did not answer within 0.3 s'],
    [
      'leaves a child that hangs',
      '(sleep 301.5 &); echo "0, x"; exit 0',
      'did not answer within 0.3 s',
    ],
  ])('are none, with a remark, where nvidia-smi %s', async (_what, script, remark) => {
    provideSmi(script);
    const devices = create({ smiTimeoutMs: script.includes('301.5') ? 300 : 30_000 });
    expect(await devices.list()).toEqual([]);
    expect(await devices.total()).toBe(0);
    expect(remarks).toEqual([expect.stringContaining(`nvidia-smi ${remark}`)]);
    while (await isSleeping('301.5')) await sleep(5);
  });

  it('are none, with a remark, where there is no nvidia-smi', async () => {
    process.env['PATH'] = folder;
    expect(await create().total()).toBe(0);
    expect(remarks).toEqual(['nvidia-smi is not there, so this host has no GPUs to lease.']);
  });

  it('are those of the setting also where nvidia-smi is of no use, without a word', async () => {
    provideSmi('exit 9');
    const leased = await lease(create({ ids: ['0'] }), 1);
    expect(leased.ids).toEqual(['0']);
    await close(leased);
    expect(remarks).toEqual([]);
  });

  it('ask nvidia-smi once, not at each look', async () => {
    provideSmi(`echo x >>"${folder}/asked"\n${TWO_GPUS}`);
    const devices = create();
    for (let look = 0; look < 5; look += 1) await devices.list();
    // Once for the devices, once for who uses them.
    expect(readFileSync(path.join(folder, 'asked'), 'utf8')).toBe('x\nx\n');
  });

  it('keep a lock file that leads elsewhere, or a name with a path in it, from doing harm', async () => {
    const victim = path.join(folder, 'victim');
    writeFileSync(victim, 'keep me');
    mkdirSync(lockFolder);
    symlinkSync(victim, path.join(lockFolder, 'x.lock'));
    await expect(create({ ids: ['x'] }).tryLease(1, 'r')).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: `The lock file ${path.join(lockFolder, 'x.lock')} is a symbolic link.`,
    });
    const leased = await lease(create({ ids: ['../../victim'] }), 1);
    expect(statSync(path.join(lockFolder, '______victim.lock')).isFile()).toBe(true);
    await close(leased);
    expect(readFileSync(victim, 'utf8')).toBe('keep me');
  });

  it('tell a holder’s words without control characters, and bounded', async () => {
    const devices = create({ ids: ['x'] });
    const leased = await lease(devices, 1);
    writeFileSync(path.join(lockFolder, 'x.lock'), `\u001b[31m${'w'.repeat(10_000)}`);
    const [state] = await devices.list();
    expect(state?.holder?.length).toBeLessThanOrEqual(300);
    expect(state?.holder?.startsWith('[31mwww')).toBe(true);
    await close(leased);
  });

  describe('share a folder that', () => {
    it('all users may write to, and nobody removes another’s file from', async () => {
      await prepareSharedFolder(lockFolder);
      expect(statSync(lockFolder).mode & 0o7777).toBe(0o1777);
      await prepareSharedFolder(lockFolder);
      chmodSync(lockFolder, 0o700);
      await prepareSharedFolder(lockFolder);
      expect(statSync(lockFolder).mode & 0o7777).toBe(0o1777);
    });

    it('is refused when it is a link or a file', async () => {
      symlinkSync(folder, lockFolder);
      await expect(prepareSharedFolder(lockFolder)).rejects.toMatchObject({
        code: 'HOST_UNUSABLE',
        message: `The folder of the device locks, ${lockFolder}, is no directory.`,
      });
    });
  });
});
