import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { boundFile, followBytes, followFile, readHeadAndTail, readTail } from './output-reader.js';

const MIB = 1024 * 1024;

describe('the reader of a program’s output', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'adit-reader-'));
    file = path.join(folder, 'log');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('gives what was added since the last look, and a character only when it is whole', async () => {
    const follower = followFile(file);
    expect(await follower.readNew()).toBe('');
    const euro = Buffer.from('€');
    appendFileSync(file, Buffer.concat([Buffer.from('a'), euro.subarray(0, 1)]));
    expect(await follower.readNew()).toBe('a');
    appendFileSync(file, Buffer.concat([euro.subarray(1), Buffer.from('b')]));
    expect(await follower.readNew()).toBe('€b');
    expect(await follower.readNew()).toBe('');
  });

  it('keeps up with an output that outruns it by leaving out what lies too far back', async () => {
    writeFileSync(file, Buffer.alloc(100 * MIB, 'x'));
    appendFileSync(file, 'the end');
    const text = await followFile(file).readNew();
    expect(text.length).toBeLessThanOrEqual(4 * MIB);
    expect(text.endsWith('xthe end')).toBe(true);
  });

  it('begins anew when the program empties the file', async () => {
    const follower = followFile(file);
    writeFileSync(file, 'a long first text');
    await follower.readNew();
    truncateSync(file, 0);
    appendFileSync(file, 'short');
    expect(await follower.readNew()).toBe('short');
  });

  it('follows bytes that are no text, from a place', async () => {
    writeFileSync(file, Buffer.from([0xff, 0x00, 0xfe, 0x80]));
    const follower = followBytes(file, { fromByte: 1 });
    expect(await follower.readNext()).toEqual(Buffer.from([0x00, 0xfe, 0x80]));
    expect(follower.position()).toBe(4);
  });

  it('bounds what it reads', async () => {
    writeFileSync(file, '0123456789');
    expect(await readHeadAndTail(file, 10)).toBe('0123456789');
    expect(await readHeadAndTail(file, 4)).toBe('01\n… 6 bytes left out …\n89');
    expect(await readTail(file, 3)).toBe('789');
    expect(await boundFile(file, 10)).toBe(file);
    expect(readFileSync(await boundFile(file, 4), 'utf8')).toBe('01\n… 6 bytes left out …\n89');
  });

  it('reads nothing through a link, a pipe or a device that never ends', async () => {
    execFileSync('mkfifo', [path.join(folder, 'pipe')]);
    symlinkSync('/dev/zero', path.join(folder, 'endless'));
    for (const name of ['pipe', 'endless', 'missing']) {
      const other = path.join(folder, name);
      expect(await followFile(other).readNew()).toBe('');
      expect(await readTail(other, 9)).toBe('');
      expect(await readHeadAndTail(other, 9)).toBe('');
      await expect(boundFile(other, 9)).rejects.toMatchObject({
        code: 'FILE_MISSING',
        message: `The output of the program is no longer in ${other}.`,
      });
    }
  });

  it('never writes its copy through what the program put there', async () => {
    const victim = path.join(folder, 'victim');
    writeFileSync(victim, 'keep me');
    writeFileSync(file, 'x'.repeat(100));
    symlinkSync(victim, `${file}.bounded`);
    expect(readFileSync(await boundFile(file, 10), 'utf8')).toContain('90 bytes left out');
    expect(readFileSync(victim, 'utf8')).toBe('keep me');
  });
});
