/** The files that pipelines call, from the disk: by the folder of the file that calls, links followed. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import type { PipelineFile, PipelineFiles, UnreadableFile } from '../compiler/pipeline-files.js';
import { MAX_FILE_BYTES } from '../compiler/yaml.js';
import { standInFor } from './read-file.js';

/** Name of a pipeline that came by standard input. */
export const STANDARD_INPUT = '<stdin>';

/** Most names of a folder among which one that was meant is looked for. */
const MAX_NAMES = 1_000;

/** Names are relative to the working directory. */
export const filesOnDisk: PipelineFiles = filesBelow('');

/** `root` is the folder to which the names of files are relative. */
export function filesBelow(root: string): PipelineFiles {
  return {
    identify: (file) => (file === STANDARD_INPUT ? null : identityOf(path.resolve(root, file))),
    read: (name, from) =>
      from === STANDARD_INPUT
        ? {
            problem: 'what comes by standard input is in no folder',
            near: [],
            hint: 'check the file by its name',
          }
        : read(name, path.join(path.dirname(from), name), root),
  };
}

function read(name: string, file: string, root: string): PipelineFile | UnreadableFile {
  const place = path.resolve(root, file);
  try {
    const found = statSync(place);
    if (found.isDirectory()) return unreadable('it is a folder', name, place);
    // Reading a pipe or a device would wait for ever.
    if (!found.isFile()) return unreadable('it is no file', name, place);
    const content = found.size > MAX_FILE_BYTES ? standInFor(found.size) : readFileSync(place);
    const sha256 = createHash('sha256').update(content).digest('hex');
    return { identity: identityOf(place), file, content, sha256 };
  } catch (error) {
    return unreadable(reasonOf(error), name, place);
  }
}

function identityOf(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return path.resolve(file);
  }
}

function unreadable(problem: string, name: string, file: string): UnreadableFile {
  const folder = name.slice(0, name.lastIndexOf('/') + 1);
  return {
    problem,
    near: namesIn(path.dirname(file))
      .filter((one) => /\.ya?ml$/.test(one) && one !== path.basename(file))
      .map((one) => `${folder}${one}`),
  };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).slice(0, MAX_NAMES);
  } catch {
    return [];
  }
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'there is no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'it may not be read';
  if (code === 'ELOOP') return 'its links go round in a circle';
  return error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : String(error);
}
