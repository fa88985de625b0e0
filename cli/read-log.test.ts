import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limitOutput, readCut } from '../host/output-limit.js';
import { printOutput } from './output-printer.js';
import { readLog, type LogPart } from './read-log.js';

let folder: string;
let log: string;
const signal = new AbortController().signal;
const ended = async (): Promise<boolean> => true;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-read-log-'));
  log = path.join(folder, 'log');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Lines that tell their own place, so that a lost or doubled one is seen. */
function lines(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, index) => `line ${from + index}\n`).join('');
}

async function read(parts: AsyncIterable<LogPart>): Promise<{ text: string; leftOut: number[] }> {
  let text = '';
  const leftOut: number[] = [];
  for await (const part of parts) {
    if (part.kind === 'bytes') text += part.bytes.toString('latin1');
    if (part.kind === 'cut') leftOut.push(part.leftOut);
  }
  return { text, leftOut };
}

describe('an output that is followed', () => {
  it('is given whole, what comes while it is read included', async () => {
    await writeFile(log, lines(0, 20_000));
    let looks = 0;
    const isOver = async (): Promise<boolean> => {
      looks += 1;
      if (looks < 3) await appendFile(log, lines(20_000 * looks, 20_000 * (looks + 1)));
      return looks === 3;
    };
    expect((await read(readLog(log, isOver, signal))).text).toBe(lines(0, 60_000));
  });

  it('is waited for when its file is not there yet', async () => {
    let looks = 0;
    const isOver = async (): Promise<boolean> => {
      looks += 1;
      if (looks === 2) await writeFile(log, 'late\n');
      return looks === 3;
    };
    expect(await read(readLog(log, isOver, signal))).toEqual({ text: 'late\n', leftOut: [] });
  });

  it('ends with the reason when the reader goes away', async () => {
    await writeFile(log, 'text\n');
    const controller = new AbortController();
    const parts = readLog(log, async () => false, controller.signal);
    const reading = (async () => {
      for await (const part of parts) if (part.kind === 'idle') controller.abort(new Error('gone'));
    })();
    await expect(reading).rejects.toThrow('gone');
  });
});

describe('an output whose middle was left out', () => {
  it('is its head, how much is missing, and its tail', async () => {
    const whole = lines(0, 100_000);
    await writeFile(log, whole);
    expect(await limitOutput(log, 128 * 1024)).toBeNull();
    const cut = await readCut(log);
    if (cut === null) throw new Error('nothing was cut');
    expect(await read(readLog(log, ended, signal))).toEqual({
      text: whole.slice(0, cut.fromByte) + whole.slice(cut.toByte),
      leftOut: [cut.toByte - cut.fromByte],
    });
  });

  it('never gives a hole for output, when it is cut while it is read', async () => {
    const whole = lines(0, 100_000);
    await writeFile(log, whole);
    let cutAfter = 300_000;
    let text = '';
    let at = 0;
    for await (const part of readLog(log, ended, signal)) {
      if (part.kind === 'cut') at += part.leftOut;
      if (part.kind !== 'bytes') continue;
      expect(part.bytes.toString('latin1')).toBe(whole.slice(at, at + part.bytes.length));
      text += part.bytes.toString('latin1');
      at += part.bytes.length;
      if (text.length > cutAfter) {
        cutAfter = Infinity;
        expect(await limitOutput(log, 128 * 1024)).toBeNull();
      }
    }
    expect(at).toBe(whole.length);
    expect(text).not.toContain('\0');
    expect(text.length).toBeLessThan(whole.length);
  });

  it('says so in its place, and on stderr', async () => {
    await writeFile(log, `${'a'.repeat(200_000)}${'b'.repeat(200_000)}`);
    await limitOutput(log, 64 * 1024);
    const cut = await readCut(log);
    const through = new PassThrough();
    let shown = '';
    through.on('data', (chunk: Buffer) => (shown += chunk.toString()));
    const stream = through as PassThrough & NodeJS.WriteStream;
    await printOutput(readLog(log, ended, signal), { stream, secrets: [], raw: false });
    const words = `… ${(cut?.toByte ?? 0) - (cut?.fromByte ?? 0)} bytes left out …`;
    expect(shown).toBe(
      `${'a'.repeat(cut?.fromByte ?? 0)}\n${words}\n${'b'.repeat(400_000 - (cut?.toByte ?? 0))}`,
    );
  });
});
