/**
 * The files behind what an approval shows: found in its values, compared with their digests before anything of them is
 * shown. What they hold is a stranger's.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { createFolderStore } from '../adapters/store/store.js';
import { fileRefSchema, type FileRef } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import type { Json, JsonObject } from '../core/json.js';

/** A FileRef inside of what is shown, by the path of its members: `patch.file`. */
export interface ShownRef {
  readonly name: string;
  readonly ref: FileRef;
}

export interface ShownFile extends ShownRef {
  /** Absolute path of the bytes, whose digest is right. */
  readonly file: string;
  /** The first bytes. */
  readonly head: Buffer;
}

/** How much of a file is kept to be shown. */
const HEAD_BYTES = 64 * 1024;

/** Every FileRef in the values, in their order. */
export function refsIn(show: JsonObject): ShownRef[] {
  return Object.entries(show).flatMap(([name, value]) => refsOf(value, name));
}

function refsOf(value: Json, name: string): ShownRef[] {
  const ref = toFileRef(value);
  if (ref !== null) return [{ name, ref }];
  if (Array.isArray(value)) return value.flatMap((item, at) => refsOf(item, `${name}[${at}]`));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) => refsOf(member, `${name}.${key}`));
}

/** The value as a FileRef; null when it is something else. */
export function toFileRef(value: Json): FileRef | null {
  const parsed = fileRefSchema.safeParse(value);
  return parsed.success && parsed.data.uri === `store:${parsed.data.sha256}` ? parsed.data : null;
}

/** Reads a file to its end and compares it with its digest. Throws StepError FILE_MISSING, FILE_CHANGED. */
export async function readShown(
  { name, ref }: ShownRef,
  roots: readonly string[],
): Promise<ShownFile> {
  const file = await locate(ref, roots);
  const hash = createHash('sha256');
  const pieces: Buffer[] = [];
  let kept = 0;
  for await (const piece of createReadStream(file)) {
    const bytes = piece as Buffer;
    hash.update(bytes);
    if (kept < HEAD_BYTES) pieces.push(bytes.subarray(0, HEAD_BYTES - kept));
    kept += bytes.length;
  }
  if (hash.digest('hex') !== ref.sha256)
    throw new StepError('FILE_CHANGED', `${file} no longer has the digest ${ref.sha256}.`, {
      hint: 'Something wrote into the store, or the disk is failing. Do not approve it.',
    });
  return { name, ref, file, head: Buffer.concat(pieces) };
}

/** The first folder that has the file; what the last one says where none has it. */
async function locate(ref: FileRef, roots: readonly string[]): Promise<string> {
  let problem: unknown = new StepError('FILE_MISSING', `There is no store for ${ref.sha256}.`);
  for (const root of roots) {
    try {
      return await createFolderStore(path.join(root, 'store')).locate(ref);
    } catch (error) {
      problem = error;
    }
  }
  throw problem;
}
