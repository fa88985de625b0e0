/**
 * Reads what programs write to files: piece by piece while they run, and bounded when they have ended. What
 * output-limit.ts left out of a log stands as one line that says how much it was.
 *
 * The files lie where their program may write: each is opened without following a link or waiting for a pipe.
 */
import { constants, createReadStream } from 'node:fs';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import { StepError } from '../core/error.js';
import { lookAtFile } from './look-at-file.js';
import { readCut, type OutputCut } from './output-limit.js';

const MOST_BEHIND_BYTES = 4 * 1024 * 1024;
const PIECE_BYTES = 256 * 1024;
const LONGEST_LINE_BYTES = 64 * 1024;

/** Follows a growing file. What it cannot keep up with is left out: the file has it all. */
export interface FileFollower {
  /** The text that was added since the last call; empty when the file is not there. */
  readNew(): Promise<string>;
}

/** Follows a growing file, byte for byte. */
export interface ByteFollower {
  /** The next bytes, some 256 KiB at most; empty when there are none now, or no file. */
  readNext(): Promise<Buffer>;
  /** Where in the file the next read begins. */
  position(): number;
}

/** Follows a file as text, from its beginning; at most the last 4 MiB of what was added between two calls. */
export function followFile(file: string): FileFollower {
  const decoder = new StringDecoder('utf8');
  const bytes = followBytes(file, { mostBehindBytes: MOST_BEHIND_BYTES });
  return {
    async readNew() {
      let text = '';
      for (let most = MOST_BEHIND_BYTES; most > 0;) {
        const piece = await bytes.readNext();
        if (piece.length === 0) break;
        most -= piece.length;
        text += decoder.write(piece);
      }
      return text;
    },
  };
}

/** Follows a file as text, and knows where its last line begins. */
export interface LineFollower {
  /** What was added since the last call, at most its last 4 MiB, in pieces. */
  readNew(): Promise<string[]>;
  /** Where the line begins that had no end yet: a follower that begins there misses nothing. */
  lineStart(): number;
}

export function followLines(file: string, fromByte: number): LineFollower {
  const decoder = new StringDecoder('utf8');
  const bytes = followBytes(file, { fromByte, mostBehindBytes: MOST_BEHIND_BYTES });
  let lineStart = fromByte;
  return {
    lineStart: () => lineStart,
    async readNew() {
      const texts: string[] = [];
      for (let most = MOST_BEHIND_BYTES; most > 0;) {
        const piece = await bytes.readNext();
        if (piece.length === 0) break;
        most -= piece.length;
        texts.push(decoder.write(piece));
        const end = Math.max(piece.lastIndexOf(0x0a), piece.lastIndexOf(0x0d));
        if (end >= 0) lineStart = bytes.position() - piece.length + end + 1;
        // The program emptied the file.
        if (lineStart > bytes.position()) lineStart = 0;
        // Of a longer line only its beginning is read anyway.
        lineStart = Math.max(lineStart, bytes.position() - LONGEST_LINE_BYTES);
      }
      return texts;
    },
  };
}

/**
 * Follows a file from `fromByte`. With `mostBehindBytes` it goes on nearer to the end when there is more to read than
 * that; without, it leaves out nothing that is there.
 */
export function followBytes(
  file: string,
  {
    fromByte = 0,
    mostBehindBytes = Number.POSITIVE_INFINITY,
  }: { readonly fromByte?: number; readonly mostBehindBytes?: number } = {},
): ByteFollower {
  let position = fromByte;
  return {
    position: () => position,
    async readNext() {
      const handle = await openRegular(file);
      if (handle === null) return Buffer.alloc(0);
      try {
        const { size } = await handle.stat();
        // The program emptied it, and began anew.
        if (size < position) position = 0;
        if (size - position > mostBehindBytes) position = size - mostBehindBytes;
        const piece = await readPiece(handle, position, Math.min(PIECE_BYTES, size - position));
        if (piece.length === 0) return piece;
        // Asked after the read: the note of a hole is there before the hole.
        const cut = await readCut(file);
        if (cut !== null && position + piece.length > cut.fromByte && position < cut.toByte) {
          if (position < cut.fromByte) {
            const whole = piece.subarray(0, cut.fromByte - position);
            position = cut.fromByte;
            return whole;
          }
          const note = Buffer.from(leftOut(cut.toByte - position));
          position = cut.toByte;
          return note;
        }
        position += piece.length;
        return piece;
      } finally {
        await handle.close();
      }
    },
  };
}

/** A regular file, opened to be read; null for anything else that the program put there, a link or a pipe. */
export async function openRegular(file: string): Promise<FileHandle | null> {
  // NONBLOCK: opening a pipe would otherwise wait for its writer for ever.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const handle = await open(file, flags).catch(() => null);
  if (handle === null || (await handle.stat()).isFile()) return handle;
  await handle.close();
  return null;
}

async function readPiece(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  if (length <= 0) return Buffer.alloc(0);
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** What of a file of `size` bytes is shown within `maxBytes`: its first bytes and its last; all of it when they meet. */
function bound(
  size: number,
  cut: OutputCut | null,
  maxBytes: number,
): { readonly head: number; readonly tail: number } {
  if (cut === null && size <= maxBytes) return { head: size, tail: 0 };
  const before = cut?.fromByte ?? size;
  const after = cut === null ? size : size - cut.toByte;
  if (before + after <= maxBytes) return { head: before, tail: after };
  const half = Math.floor(maxBytes / 2);
  return { head: Math.min(before, half), tail: Math.min(after, half) };
}

/** At most `maxBytes` of a file: all of it, or its head and tail with a note between them. */
export async function readHeadAndTail(file: string, maxBytes: number): Promise<string> {
  const handle = await openRegular(file);
  if (handle === null) return '';
  try {
    for (;;) {
      const cut = await readCut(file);
      const { size } = await handle.stat();
      const { head, tail } = bound(size, cut, maxBytes);
      const first = (await readPiece(handle, 0, head)).toString('utf8');
      const last = (await readPiece(handle, size - tail, tail)).toString('utf8');
      // A hole was made meanwhile, perhaps in what was read.
      if (!isSameCut(cut, await readCut(file))) continue;
      return head + tail === size ? first + last : first + leftOut(size - head - tail) + last;
    }
  } finally {
    await handle.close();
  }
}

/** The last `maxBytes` of a file as text. */
export async function readTail(file: string, maxBytes: number): Promise<string> {
  if (lookAtFile(file)?.size === 0) return '';
  const handle = await openRegular(file);
  if (handle === null) return '';
  try {
    for (;;) {
      const cut = await readCut(file);
      const { size } = await handle.stat();
      const length = Math.min(cut === null ? size : size - cut.toByte, maxBytes);
      const text = (await readPiece(handle, size - length, length)).toString('utf8');
      if (isSameCut(cut, await readCut(file))) return text;
    }
  } finally {
    await handle.close();
  }
}

function isSameCut(a: OutputCut | null, b: OutputCut | null): boolean {
  return a?.fromByte === b?.fromByte && a?.toByte === b?.toByte;
}

/**
 * A file with the same text of at most `maxBytes`: the file itself, or a copy of its head and tail beside
 * it. Throws FILE_MISSING when the program removed or replaced it.
 */
export async function boundFile(file: string, maxBytes: number): Promise<string> {
  const found = lookAtFile(file);
  if (found?.isFile() !== true) {
    throw new StepError('FILE_MISSING', `The output of the program is no longer in ${file}.`, {
      hint: 'The program removed or replaced the file; it must leave what lies beside its ADIT_OUTPUT_DIR alone.',
    });
  }
  const { size } = found;
  if (size === 0) return file;
  const { head, tail } = bound(size, await readCut(file), maxBytes);
  if (head === size) return file;
  const bounded = `${file}.bounded`;
  await rm(bounded, { recursive: true, force: true });
  // Made anew: what the program put there must not be written through.
  const copy = await open(bounded, 'wx', 0o600);
  await pipeline(async function* () {
    if (head > 0) yield* createReadStream(file, { end: head - 1 });
    yield Buffer.from(leftOut(size - head - tail));
    if (tail > 0) yield* createReadStream(file, { start: size - tail, end: size - 1 });
  }, copy.createWriteStream());
  return bounded;
}

function leftOut(bytes: number): string {
  return `\n… ${bytes} bytes left out …\n`;
}
