/** Files that a person names: read only as far as anybody would write one by hand, since a device has no end. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { decodeText } from '../compiler/text-file.js';
import { MAX_FILE_BYTES } from '../compiler/yaml.js';
import { CliFailure, EXIT } from './failure.js';
import { clean } from './output.js';

const PIECE_BYTES = 64 * 1024;

/**
 * What stands for a file larger than MAX_FILE_BYTES, which is not read: as many zeros, up to 1 GiB. The compiler tells
 * its size and refuses it.
 */
export function standInFor(sizeBytes: number): Uint8Array {
  return new Uint8Array(Math.min(sizeBytes, 2 ** 30));
}

/** The bytes of a file, a pipe or a device; `standInFor` a file that is too large. Throws as Node does. */
function readBounded(file: string): Uint8Array {
  const descriptor = openSync(file, 'r');
  try {
    const stat = fstatSync(descriptor);
    if (stat.isFile() && stat.size > MAX_FILE_BYTES) return standInFor(stat.size);
    const pieces: Buffer[] = [];
    let sizeBytes = 0;
    while (sizeBytes <= MAX_FILE_BYTES) {
      const piece = Buffer.alloc(PIECE_BYTES);
      const readBytes = readSync(descriptor, piece);
      if (readBytes === 0) break;
      pieces.push(piece.subarray(0, readBytes));
      sizeBytes += readBytes;
    }
    return Buffer.concat(pieces);
  } finally {
    closeSync(descriptor);
  }
}

/** The text of a file; `what` is what it was named for. Throws CliFailure FILE_UNREADABLE (exit code 2). */
export function readTextFile(file: string, what: string): string {
  const bytes = readNamed(file, what);
  if (bytes.length > MAX_FILE_BYTES)
    throw unreadable(
      file,
      what,
      'it has more than 1 MiB',
      'Large values belong into files that steps read.',
    );
  const text = decodeText(bytes);
  if (typeof text === 'string') return text;
  throw unreadable(file, what, text.message, text.hint === '' ? undefined : text.hint);
}

/** As `readBounded`, of standard input for `-`; `what` is what it was named for. Throws CliFailure FILE_UNREADABLE (exit code 2). */
export async function readPipelineFile(file: string, what: string): Promise<Uint8Array> {
  return file === '-' ? readStandardInput() : readNamed(file, what);
}

async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of process.stdin) {
    const bytes = Buffer.from(chunk as Buffer);
    chunks.push(bytes);
    sizeBytes += bytes.length;
    if (sizeBytes > MAX_FILE_BYTES) break;
  }
  return Buffer.concat(chunks);
}

function readNamed(file: string, what: string): Uint8Array {
  try {
    return readBounded(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const reason = REASONS[code] ?? (error instanceof Error ? error.message : String(error));
    const files = `Name files in it, such as ${path.join(file, '*.yaml')}.`;
    throw unreadable(file, what, reason, code === 'EISDIR' ? clean(files, 300) : undefined);
  }
}

const REASONS: { readonly [code: string]: string } = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EISDIR: 'it is a folder',
  EACCES: 'it may not be read',
  EPERM: 'it may not be read',
  ELOOP: 'its links go round in a circle',
};

function unreadable(
  file: string,
  what: string,
  reason: string,
  hint = 'Correct the path.',
): CliFailure {
  const name = file === '' ? '' : ` ${clean(file, 300)}`;
  return new CliFailure('FILE_UNREADABLE', `${what}${name} cannot be read: ${reason}.`, {
    hint,
    exitCode: EXIT.usage,
  });
}
