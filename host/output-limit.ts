/**
 * Keeps head and tail of an output that grows too large, while it is written: the blocks of its middle are given
 * back to the disk (a hole). Positions in the file stay what they were, so the program notices nothing.
 *
 * Invariant: the note of what was cut is on the disk before the hole is made, so no reader takes the hole's zeros for
 * output. The note lies beside the log, `log.cut.json`, in a block that is written in place: the disk may be full.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open, rm, stat, type FileHandle } from 'node:fs/promises';
import { isJsonObject } from '../core/json.js';
import { lookAtFile } from './look-at-file.js';

/** The part of a log that was left out. */
export interface OutputCut {
  readonly fromByte: number;
  /** Not included. */
  readonly toByte: number;
}

const BLOCK_BYTES = 4096;
/** What st_blocks counts in. */
const STAT_BLOCK_BYTES = 512;
/** A log may be larger than its limit by this part of it, so that a hole is not made for every line. */
const SLACK = 1 / 8;

/**
 * Frees the middle of a log that takes more of the disk than the limit; call it now and then while the log grows.
 * Half of the limit is head, half tail. Returns a remark for people when the file system, or this machine, cannot
 * do that: then the log is as it was.
 */
export async function limitOutput(log: string, limitBytes: number): Promise<string | null> {
  if (isSmall(log, limitBytes)) return null;
  const handle = await openOwn(log, constants.O_RDWR);
  if (handle === null) return null;
  try {
    const { size, blocks } = await handle.stat();
    const earlier = await readNote(log);
    // The program emptied the log: positions mean something else now.
    if (earlier !== null && size < earlier.toByte) await rm(noteOf(log), { force: true });
    const known = earlier !== null && size >= earlier.toByte ? earlier : null;
    // Also a program's own hole is output to its readers; and a hole that was noted may not have been made.
    const shownBytes = size - (known === null ? 0 : known.toByte - known.fromByte);
    const mostBytes = limitBytes * (1 + SLACK) + 2 * BLOCK_BYTES;
    if (Math.max(shownBytes, blocks * STAT_BLOCK_BYTES) <= mostBytes) return null;
    const half = Math.floor(limitBytes / 2);
    const fromByte = known?.fromByte ?? Math.ceil(half / BLOCK_BYTES) * BLOCK_BYTES;
    const toByte = Math.floor((size - half) / BLOCK_BYTES) * BLOCK_BYTES;
    if (toByte <= fromByte || toByte < (known?.toByte ?? 0)) return null;
    await writeNote(log, { fromByte, toByte });
    const failure = await punchHole(handle, fromByte, toByte - fromByte);
    if (failure === null) return null;
    if (known === null) await rm(noteOf(log), { force: true });
    else await writeNote(log, known);
    return `The output in ${log} is larger than ${limitBytes} bytes and could not be shortened: ${failure}`;
  } finally {
    await handle.close();
  }
}

/** True for a log of which nothing is to be cut, and was not: most of them, so this comes first. */
function isSmall(log: string, limitBytes: number): boolean {
  const found = lookAtFile(log);
  if (found === null || found.size > limitBytes) return false;
  return found.blocks * STAT_BLOCK_BYTES <= limitBytes && lookAtFile(noteOf(log)) === null;
}

/** What was left out of a log; null: nothing. */
export async function readCut(log: string): Promise<OutputCut | null> {
  const cut = await readNote(log);
  if (cut === null) return null;
  const size = await stat(log).then(
    (found) => found.size,
    () => 0,
  );
  return size >= cut.toByte ? cut : null;
}

function noteOf(log: string): string {
  return `${log}.cut.json`;
}

async function readNote(log: string): Promise<OutputCut | null> {
  const handle = await openOwn(noteOf(log), constants.O_RDONLY);
  if (handle === null) return null;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(NOTE_BYTES), 0, NOTE_BYTES, 0);
    const value: unknown = JSON.parse(buffer.toString('utf8', 0, bytesRead));
    if (!isJsonObject(value)) return null;
    const { fromByte, toByte } = value;
    if (!Number.isSafeInteger(fromByte) || !Number.isSafeInteger(toByte)) return null;
    const cut = { fromByte: Number(fromByte), toByte: Number(toByte) };
    return cut.fromByte >= 0 && cut.fromByte < cut.toByte ? cut : null;
  } catch {
    // Empty, half-written or not ours: the hole is not made before the note is whole.
    return null;
  } finally {
    await handle.close();
  }
}

const NOTE_BYTES = 256;

async function writeNote(log: string, cut: OutputCut): Promise<void> {
  const handle = await open(
    noteOf(log),
    constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    0o600,
  );
  try {
    const text = `${JSON.stringify({ version: 1, ...cut }).padEnd(NOTE_BYTES - 1)}\n`;
    await handle.write(text, 0);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** A regular file; null for what the program may have put in its place. */
async function openOwn(file: string, flags: number): Promise<FileHandle | null> {
  const handle = await open(file, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    () => null,
  );
  if (handle === null || (await handle.stat()).isFile()) return handle;
  await handle.close();
  return null;
}

/** Null when it was done, otherwise why not. */
function punchHole(handle: FileHandle, offset: number, length: number): Promise<string | null> {
  return new Promise((resolve) => {
    // The open file, not its name, which the program could make lead elsewhere.
    const child = spawn(
      'fallocate',
      ['--punch-hole', '--offset', String(offset), '--length', String(length), '/proc/self/fd/3'],
      { stdio: ['ignore', 'ignore', 'pipe', handle.fd] },
    );
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 300);
    });
    child.once('error', () => resolve('fallocate of util-linux is missing.'));
    child.once('close', (code) => {
      resolve(code === 0 ? null : said.trim() || `fallocate ended with ${code}.`);
    });
  });
}
