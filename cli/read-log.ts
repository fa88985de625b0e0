import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { readCut } from '../adapters/processes/recorded-starts.js';

const CHUNK_BYTES = 64 * 1024;
const LOOK_EVERY_MS = 200;

/** A piece of an output: bytes as they were written, how many are left out in this place, or that nothing is new. */
export type LogPart =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'cut'; readonly leftOut: number }
  | { readonly kind: 'idle' };

/**
 * The output in a file, from its beginning, in pieces. Goes on until `isOver`, which is asked before the file is
 * read, so that nothing of what was written before the end is missed. Rejects with the reason of `signal`.
 */
export async function* readLog(
  file: string,
  isOver: () => Promise<boolean>,
  signal: AbortSignal,
): AsyncGenerator<LogPart> {
  let at = 0;
  for (;;) {
    signal.throwIfAborted();
    const over = await isOver();
    for (;;) {
      const part = await readPart(file, at);
      if (part === null) break;
      at += part.kind === 'bytes' ? part.bytes.length : part.leftOut;
      yield part;
      signal.throwIfAborted();
    }
    if (over) return;
    yield { kind: 'idle' };
    await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => {
      throw signal.reason;
    });
  }
}

/** What comes next at an offset; null at the end of the file, or when it is not there yet. */
async function readPart(
  file: string,
  at: number,
): Promise<Exclude<LogPart, { kind: 'idle' }> | null> {
  for (;;) {
    const cut = await readCut(file);
    if (cut !== null && at >= cut.fromByte && at < cut.toByte)
      return { kind: 'cut', leftOut: cut.toByte - at };
    const most = cut !== null && at < cut.fromByte ? cut.fromByte - at : CHUNK_BYTES;
    const bytes = await readAt(file, at, Math.min(most, CHUNK_BYTES));
    // What is cut while it is read reads as zeros: it counts only when it was still whole afterwards.
    const now = await readCut(file);
    const wasCut =
      now !== null &&
      (now.fromByte !== cut?.fromByte || now.toByte !== cut.toByte) &&
      now.fromByte < at + bytes.length &&
      now.toByte > at;
    if (wasCut) continue;
    return bytes.length === 0 ? null : { kind: 'bytes', bytes };
  }
}

async function readAt(file: string, at: number, length: number): Promise<Buffer> {
  const handle = await open(file, 'r').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  });
  if (handle === null) return Buffer.alloc(0);
  try {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await handle.read(buffer, 0, length, at);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
