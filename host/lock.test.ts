import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isLocked, tryLock } from './lock.js';

describe('a lock', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'adit-lock-'));
    file = path.join(folder, 'lock');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is held by one at a time, and free again when it is closed', async () => {
    const first = await tryLock(file);
    expect(await isLocked(file)).toBe(true);
    expect(await tryLock(file)).toBeNull();
    await first?.close();
    expect(await isLocked(file)).toBe(false);
    const second = await tryLock(file);
    expect(second).not.toBeNull();
    await second?.close();
  });

  it('is not held while there is no file, and asking makes none', async () => {
    expect(await isLocked(file)).toBe(false);
    expect(() => statSync(file)).toThrow('ENOENT');
  });

  it('lives as long as the last heir of the descriptor', async () => {
    const lock = await tryLock(file);
    // A child of the child keeps it when both we and the child have closed it.
    const child = spawn('/bin/sh', ['-c', 'sleep 300.7 & echo $!'], {
      stdio: ['ignore', 'pipe', 'ignore', lock?.fd],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const pid = await new Promise<number>((resolve) =>
      child.stdout?.once('data', (data: Buffer) => resolve(Number(String(data)))),
    );
    await lock?.close();
    await ended;
    expect(await isLocked(file)).toBe(true);
    process.kill(pid, 'SIGKILL');
    while (await isLocked(file)) await sleep(5);
  });

  it('is not taken from each other by those who only ask', async () => {
    const asked = Array.from({ length: 8 }, () => isLocked(file));
    const lock = await tryLock(file);
    await Promise.all(asked);
    expect(lock).not.toBeNull();
    await lock?.close();
  });

  it('is given to one of many who try at once', async () => {
    const taken = await Promise.all(Array.from({ length: 12 }, () => tryLock(file)));
    expect(taken.filter((lock) => lock !== null)).toHaveLength(1);
    for (const lock of taken) await lock?.close();
  });

  it('is on the file that has the name, not on one that was removed', async () => {
    const first = await tryLock(file);
    rmSync(file);
    const second = await tryLock(file);
    expect(second).not.toBeNull();
    expect(await tryLock(file)).toBeNull();
    await first?.close();
    await second?.close();
  });

  it('is not on a file that was removed while it was taken', async () => {
    writeFileSync(file, '');
    // flock itself, with the removal just before the lock, once.
    const bin = path.join(folder, 'bin');
    mkdirSync(bin);
    const searched = process.env['PATH'];
    const script = `#!/bin/sh\nrm '${file}' "$0"\nPATH='${searched}'\nexec flock "$@"\n`;
    writeFileSync(path.join(bin, 'flock'), script, { mode: 0o755 });
    process.env['PATH'] = `${bin}:${searched}`;
    const first = await tryLock(file).finally(() => {
      process.env['PATH'] = searched;
    });
    expect(first).not.toBeNull();
    expect(await tryLock(file)).toBeNull();
    await first?.close();
  });

  it('seems held to nobody because others ask too', async () => {
    writeFileSync(file, '');
    const answers = await Promise.all(Array.from({ length: 24 }, () => isLocked(file)));
    expect(answers).not.toContain(true);
  });

  it('makes its file with the mode asked for, whatever the umask', async () => {
    const lock = await tryLock(file, { mode: 0o666 });
    expect(statSync(file).mode & 0o777).toBe(0o666);
    await lock?.close();
  });

  it.each([
    ['is a symbolic link', () => symlinkSync('/etc/hostname', file)],
    ['is a directory', () => mkdirSync(file)],
    ['is no regular file', () => execFileSync('mkfifo', [file])],
  ])('is refused when its file %s', async (why, prepare) => {
    prepare();
    for (const act of [tryLock, isLocked]) {
      await expect(act(file)).rejects.toMatchObject({
        code: 'HOST_UNUSABLE',
        message: `The lock file ${file} ${why}.`,
      });
    }
  });

  it('says which package is missing where there is no flock', async () => {
    const searched = process.env['PATH'];
    process.env['PATH'] = folder;
    await expect(
      tryLock(file).finally(() => {
        process.env['PATH'] = searched;
      }),
    ).rejects.toMatchObject({
      code: 'HOST_UNUSABLE',
      message: 'The program flock is missing.',
      hint: expect.stringContaining('util-linux') as string,
    });
  });

  it('says why a file cannot be locked', async () => {
    const bin = path.join(folder, 'flock');
    writeFileSync(bin, '#!/bin/sh\necho "flock: 3: No locks available" >&2\nexit 71\n', {
      mode: 0o755,
    });
    const searched = process.env['PATH'];
    process.env['PATH'] = `${folder}:${searched}`;
    await expect(
      tryLock(file).finally(() => {
        process.env['PATH'] = searched;
      }),
    ).rejects.toMatchObject({
      message: `The file ${file} cannot be locked: flock: 3: No locks available`,
    });
  });
});
