import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limitOutput, readCut } from './output-limit.js';
import { boundFile, followBytes, followFile, readHeadAndTail, readTail } from './output-reader.js';

const KIB = 1024;
const LIMIT = 64 * KIB;

describe('an output with a limit', () => {
  let folder: string;
  let log: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'adit-output-'));
    log = path.join(folder, 'log');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Numbered lines of 16 bytes. */
  let next = 0;
  const lines = (count: number): string =>
    Array.from({ length: count }, () => `line ${String((next += 1)).padStart(10, '0')}\n`).join('');
  const write = (bytes: number): void => appendFileSync(log, lines(bytes / 16));
  const diskBytes = (): number => statSync(log).blocks * 512;
  beforeEach(() => {
    next = 0;
  });

  it('is left alone up to the limit', async () => {
    write(LIMIT);
    expect(await limitOutput(log, LIMIT)).toBeNull();
    expect(await readCut(log)).toBeNull();
    expect(diskBytes()).toBe(LIMIT);
    expect(await readHeadAndTail(log, LIMIT)).toBe(readFileSync(log, 'utf8'));
  });

  it('keeps head and tail, frees the middle, and notes what it left out', async () => {
    write(16 * LIMIT);
    const whole = readFileSync(log, 'utf8');
    expect(await limitOutput(log, LIMIT)).toBeNull();
    const cut = await readCut(log);
    expect(cut).toEqual({ fromByte: 32 * KIB, toByte: 16 * LIMIT - 32 * KIB });
    expect(statSync(log).size).toBe(16 * LIMIT);
    expect(diskBytes()).toBe(LIMIT);
    const text = `${whole.slice(0, 32 * KIB)}\n… ${15 * LIMIT} bytes left out …\n${whole.slice(-32 * KIB)}`;
    expect(await readHeadAndTail(log, 10 * LIMIT)).toBe(text);
    expect(readFileSync(await boundFile(log, 10 * LIMIT), 'utf8')).toBe(text);
  });

  it('moves the hole on while the output grows, and the tail stays the last output', async () => {
    const whole: string[] = [];
    for (let piece = 0; piece < 20; piece += 1) {
      whole.push(lines(LIMIT / 16));
      appendFileSync(log, whole.at(-1) ?? '');
      expect(await limitOutput(log, LIMIT)).toBeNull();
      expect(diskBytes()).toBeLessThanOrEqual(LIMIT * 1.5);
    }
    const text = whole.join('');
    const cut = await readCut(log);
    expect(cut?.fromByte).toBe(32 * KIB);
    expect(readFileSync(log, 'utf8').slice(cut?.toByte)).toBe(text.slice(cut?.toByte));
    expect(await readTail(log, 1_600)).toBe(text.slice(-1_600));
    expect(await readTail(log, 100 * LIMIT)).toBe(text.slice(cut?.toByte));
  });

  it('leaves out the terabyte of nothing that a program makes its log seem to have', async () => {
    write(LIMIT);
    truncateSync(log, 2 ** 40);
    expect(await limitOutput(log, LIMIT)).toBeNull();
    expect(await readCut(log)).toEqual({ fromByte: 32 * KIB, toByte: 2 ** 40 - 32 * KIB });
  });

  it('makes no hole for a few bytes more', async () => {
    write(4 * LIMIT);
    await limitOutput(log, LIMIT);
    const cut = await readCut(log);
    write(4 * KIB);
    await limitOutput(log, LIMIT);
    expect(await readCut(log)).toEqual(cut);
  });

  it('is followed without a zero: text before, one line for what was left out, text after', async () => {
    const follower = followFile(log);
    write(LIMIT);
    const first = await follower.readNew();
    write(15 * LIMIT);
    const whole = readFileSync(log, 'utf8');
    await limitOutput(log, LIMIT);
    const rest = await follower.readNew();
    expect(first).toBe(whole.slice(0, LIMIT));
    expect(rest).toBe(`\n… ${15 * LIMIT - 32 * KIB} bytes left out …\n${whole.slice(-32 * KIB)}`);
  });

  it('is followed byte for byte around the hole from any place', async () => {
    write(16 * LIMIT);
    const whole = readFileSync(log);
    await limitOutput(log, LIMIT);
    const { fromByte = 0, toByte = 0 } = (await readCut(log)) ?? {};
    for (const from of [0, fromByte - 1, fromByte, fromByte + 5, toByte - 1, toByte, toByte + 7]) {
      const follower = followBytes(log, { fromByte: from });
      const pieces: Buffer[] = [];
      for (;;) {
        const piece = await follower.readNext();
        if (piece.length === 0) break;
        pieces.push(piece);
      }
      const inside = Math.max(from, fromByte);
      const note = from < toByte ? `\n… ${toByte - inside} bytes left out …\n` : '';
      const expected = Buffer.concat([
        whole.subarray(Math.min(from, fromByte), fromByte),
        Buffer.from(note),
        whole.subarray(Math.max(from, toByte)),
      ]);
      expect(Buffer.concat(pieces).equals(expected)).toBe(true);
      expect(follower.position()).toBe(whole.length);
    }
  });

  it('forgets the hole when the program empties its log', async () => {
    write(16 * LIMIT);
    await limitOutput(log, LIMIT);
    truncateSync(log, 0);
    write(LIMIT / 2);
    expect(await readCut(log)).toBeNull();
    await limitOutput(log, LIMIT);
    write(32 * LIMIT);
    expect(await readCut(log)).toBeNull();
    expect((await readHeadAndTail(log, LIMIT)).startsWith('line 0000065537\n')).toBe(true);
  });

  it('makes the hole that an earlier host noted but did not make', async () => {
    write(16 * LIMIT);
    writeFileSync(
      `${log}.cut.json`,
      JSON.stringify({ version: 1, fromByte: 32 * KIB, toByte: 15 * LIMIT }),
    );
    expect(await limitOutput(log, LIMIT)).toBeNull();
    expect(diskBytes()).toBe(LIMIT);
  });

  it('never reaches through a link that the program put in the place of log or note', async () => {
    const victim = path.join(folder, 'victim');
    writeFileSync(victim, Buffer.alloc(16 * LIMIT, 'x'));
    symlinkSync(victim, log);
    expect(await limitOutput(log, LIMIT)).toBeNull();
    expect(statSync(victim).blocks * 512).toBe(16 * LIMIT);
    rmSync(log);
    write(16 * LIMIT);
    symlinkSync(victim, `${log}.cut.json`);
    await expect(limitOutput(log, LIMIT)).rejects.toMatchObject({ code: 'ELOOP' });
    expect(diskBytes()).toBe(16 * LIMIT);
  });

  it.each([
    '',
    '{',
    '[]',
    '{"fromByte":"0","toByte":5}',
    '{"fromByte":9,"toByte":5}',
    'x'.repeat(9_000),
  ])('takes the note %j for none', async (note) => {
    write(4 * LIMIT);
    writeFileSync(`${log}.cut.json`, note);
    expect(await readCut(log)).toBeNull();
    await limitOutput(log, LIMIT);
    expect(await readCut(log)).toEqual({ fromByte: 32 * KIB, toByte: 4 * LIMIT - 32 * KIB });
  });

  it('says so, and loses nothing, where no hole can be made', async () => {
    write(16 * LIMIT);
    const whole = readFileSync(log);
    const searched = process.env['PATH'];
    process.env['PATH'] = folder;
    const remark = await limitOutput(log, LIMIT).finally(() => {
      process.env['PATH'] = searched;
    });
    expect(remark).toBe(
      `The output in ${log} is larger than ${LIMIT} bytes and could not be shortened: fallocate of util-linux is missing.`,
    );
    expect(await readCut(log)).toBeNull();
    expect(existsSync(`${log}.cut.json`)).toBe(false);
    expect(readFileSync(log).equals(whole)).toBe(true);
  });

  it('is no output when the log is a directory, or not there', async () => {
    expect(await limitOutput(log, LIMIT)).toBeNull();
    mkdirSync(log);
    expect(await limitOutput(log, LIMIT)).toBeNull();
    expect(await followBytes(log).readNext()).toEqual(Buffer.alloc(0));
  });
});
