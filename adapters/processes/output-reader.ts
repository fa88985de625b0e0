/** Reads what programs write to files: piece by piece while they run, and bounded when they have ended. */
import { lstat, open, type FileHandle } from 'node:fs/promises';
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { StringDecoder } from 'node:string_decoder';
import { StepError } from '../../core/error.js';

const MOST_BEHIND_BYTES = 4 * 1024 * 1024;
const PIECE_BYTES = 256 * 1024;

/** Follows a growing file. What it cannot keep up with is left out: the file has it all. */
export interface FileFollower {
  /** The text that was added since the last call; empty when the file is not there. */
  readNew(): Promise<string>;
}

export function followFile(file: string): FileFollower {
  const decoder = new StringDecoder('utf8');
  let position = 0;
  return {
    async readNew() {
      const handle = await openRegular(file);
      if (handle === null) return '';
      try {
        const { size } = await handle.stat();
        if (size < position) position = 0;
        if (size - position > MOST_BEHIND_BYTES) position = size - MOST_BEHIND_BYTES;
        let text = '';
        while (position < size) {
          const piece = await readPiece(handle, position, Math.min(PIECE_BYTES, size - position));
          if (piece.length === 0) break;
          position += piece.length;
          text += decoder.write(piece);
        }
        return text;
      } finally {
        await handle.close();
      }
    },
  };
}

/** A regular file, opened to be read; null for anything else that the program put there, a link or a pipe. */
async function openRegular(file: string): Promise<FileHandle | null> {
  // NONBLOCK: opening a pipe would otherwise wait for its writer for ever.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const handle = await open(file, flags).catch(() => null);
  if (handle === null || (await handle.stat()).isFile()) return handle;
  await handle.close();
  return null;
}

async function readPiece(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** At most `maxBytes` of a file: all of it, or its head and tail with a note between them. */
export async function readHeadAndTail(file: string, maxBytes: number): Promise<string> {
  const handle = await openRegular(file);
  if (handle === null) return '';
  try {
    const { size } = await handle.stat();
    if (size <= maxBytes) return (await readPiece(handle, 0, size)).toString('utf8');
    const half = Math.floor(maxBytes / 2);
    const head = await readPiece(handle, 0, half);
    const tail = await readPiece(handle, size - half, half);
    return `${head.toString('utf8')}${leftOut(size - 2 * half)}${tail.toString('utf8')}`;
  } finally {
    await handle.close();
  }
}

/** The last `maxBytes` of a file as text. */
export async function readTail(file: string, maxBytes: number): Promise<string> {
  const handle = await openRegular(file);
  if (handle === null) return '';
  try {
    const { size } = await handle.stat();
    const length = Math.min(size, maxBytes);
    return (await readPiece(handle, size - length, length)).toString('utf8');
  } finally {
    await handle.close();
  }
}

/**
 * A file with the same text of at most `maxBytes`: the file itself, or a copy of its head and tail beside
 * it. Throws FILE_MISSING when the program removed or replaced it.
 */
export async function boundFile(file: string, maxBytes: number): Promise<string> {
  const found = await lstat(file).catch(() => null);
  if (found?.isFile() !== true) {
    throw new StepError('FILE_MISSING', `The output of the program is no longer in ${file}.`, {
      hint: 'The program removed or replaced the file; it must leave what lies beside its ADIT_OUTPUT_DIR alone.',
    });
  }
  const { size } = found;
  if (size <= maxBytes) return file;
  const half = Math.floor(maxBytes / 2);
  const bounded = `${file}.bounded`;
  await pipeline(createReadStream(file, { end: half - 1 }), createWriteStream(bounded));
  await pipeline(
    (async function* () {
      yield Buffer.from(leftOut(size - 2 * half));
      yield* createReadStream(file, { start: size - half, end: size - 1 });
    })(),
    createWriteStream(bounded, { flags: 'a' }),
  );
  return bounded;
}

function leftOut(bytes: number): string {
  return `\n… ${bytes} bytes left out …\n`;
}
