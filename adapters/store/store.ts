/** Content-addressed files in a folder: what is large, or what must be proven later, lies here. */
import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  createWriteStream,
  fstatSync,
  openSync,
  readSync,
  statSync,
} from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FileRef } from '../../compiler/values.js';
import { isDiskFull, StepError } from '../../core/error.js';

export interface Store {
  /** Copies a file into the store; its digest is taken from the bytes that were copied. */
  putFile(file: string, signal?: AbortSignal): Promise<FileRef>;
  putBytes(bytes: Uint8Array | string): Promise<FileRef>;
  /** Absolute path of the bytes, to read only. Throws FILE_MISSING, or FILE_CHANGED when the size differs. */
  locate(ref: FileRef): Promise<string>;
  /** The file with this digest; null when the store has none. */
  find(sha256: string): Promise<FileRef | null>;
  /** The bytes, compared with their digest. Throws FILE_MISSING, FILE_CHANGED. */
  read(ref: FileRef): Promise<Buffer>;
}

export function createFolderStore(folder: string): Store {
  const place = (sha256: string): string => path.join(folder, sha256.slice(0, 2), sha256);

  async function keep(temporary: string, sha256: string): Promise<void> {
    await mkdir(path.dirname(place(sha256)), { recursive: true });
    await rename(temporary, place(sha256));
  }

  async function newTemporary(): Promise<string> {
    await mkdir(path.join(folder, 'incoming'), { recursive: true });
    return path.join(folder, 'incoming', randomUUID());
  }

  const store: Store = {
    async putFile(file, signal) {
      const small = readSmall(file);
      if (small !== null) return store.putBytes(small);
      const temporary = await newTemporary();
      const hash = createHash('sha256');
      let sizeBytes = 0;
      const measure = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          hash.update(chunk);
          sizeBytes += chunk.length;
          done(null, chunk);
        },
      });
      try {
        await pipeline(
          createReadStream(file),
          measure,
          createWriteStream(temporary, { flush: true }),
          signal === undefined ? {} : { signal },
        );
        const sha256 = hash.digest('hex');
        await keep(temporary, sha256);
        return { uri: `store:${sha256}`, sha256, sizeBytes };
      } catch (error) {
        await rm(temporary, { force: true });
        if (signal?.aborted === true) throw signal.reason;
        throw toStepError(error, file);
      }
    },

    async putBytes(bytes) {
      const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
      const sha256 = createHash('sha256').update(buffer).digest('hex');
      const known = statSync(place(sha256), { throwIfNoEntry: false });
      if (known?.size === buffer.length) {
        return { uri: `store:${sha256}`, sha256, sizeBytes: buffer.length };
      }
      const temporary = await newTemporary();
      try {
        await writeFile(temporary, buffer, { flush: true });
        await keep(temporary, sha256);
      } catch (error) {
        await rm(temporary, { force: true });
        throw toStepError(error, 'the store');
      }
      return { uri: `store:${sha256}`, sha256, sizeBytes: buffer.length };
    },

    async locate(ref) {
      const file = place(ref.sha256);
      const found = await stat(file).catch(() => null);
      if (found === null) {
        throw new StepError('FILE_MISSING', `The store has no file ${ref.sha256}.`, {
          hint: `It should lie at ${file}; was the state folder moved or cleaned?`,
        });
      }
      if (found.size !== ref.sizeBytes) {
        throw new StepError(
          'FILE_CHANGED',
          `${file} has ${found.size} bytes, not ${ref.sizeBytes}.`,
        );
      }
      return file;
    },

    async find(sha256) {
      const found = await stat(place(sha256)).catch(() => null);
      if (found === null || !found.isFile()) return null;
      return { uri: `store:${sha256}`, sha256, sizeBytes: found.size };
    },

    async read(ref) {
      const bytes = await readFile(await store.locate(ref));
      if (createHash('sha256').update(bytes).digest('hex') !== ref.sha256) {
        throw new StepError('FILE_CHANGED', `${place(ref.sha256)} no longer has its digest.`);
      }
      return bytes;
    },
  };
  return store;
}

const SMALL_BYTES = 64 * 1024;

/**
 * The bytes of a small file; null for a larger one. Throws as `putFile` does. Every step stores its output, mostly
 * a few lines: not through the thread pool, whose turns cost more than the reading.
 */
function readSmall(file: string): Buffer | null {
  try {
    const fd = openSync(file, 'r');
    try {
      if (fstatSync(fd).size > SMALL_BYTES) return null;
      const bytes = Buffer.alloc(SMALL_BYTES + 1);
      let length = 0;
      for (let read = -1; read !== 0 && length < bytes.length; length += read) {
        read = readSync(fd, bytes, length, bytes.length - length, length);
      }
      return length < bytes.length ? bytes.subarray(0, length) : null;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw toStepError(error, file);
  }
}

function toStepError(error: unknown, what: string): unknown {
  if (isDiskFull(error)) {
    return new StepError('DISK_FULL', `No space left while storing ${what}.`, { cause: error });
  }
  if ((error as NodeJS.ErrnoException).code === 'ENOENT')
    return new StepError('FILE_MISSING', `${what} does not exist.`, { cause: error });
  return error;
}
