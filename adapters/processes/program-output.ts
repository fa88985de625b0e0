/** The files that a program leaves for its step. They are a stranger's: only regular files inside its folder are read. */
import { lstat, realpath } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../core/error.js';
import type { ProgramFiles } from '../../core/host-protocol.js';
import { readHeadAndTail } from '../../host/output-reader.js';

/** A file that the program left in its output directory. Throws OUTPUT_MISSING when it is not there, empty or elsewhere. */
export async function findOutputFile(
  { outputDir }: ProgramFiles,
  file: string,
): Promise<{ file: string; sizeBytes: number }> {
  const missing = (why: string): StepError =>
    new StepError('OUTPUT_MISSING', `The program's output file ${file} ${why}.`, {
      hint: `It must be a regular file in $ADIT_OUTPUT_DIR (${outputDir}).`,
    });
  // The program may have removed the directory itself: then the file does not exist either.
  const root = await realpath(outputDir).catch(() => outputDir);
  const found = await realpath(path.resolve(root, file)).catch(() => null);
  if (found === null) throw missing('does not exist');
  if (!found.startsWith(`${root}${path.sep}`)) throw missing('leads out of the output directory');
  const stat = await lstat(found);
  if (!stat.isFile()) throw missing('is no regular file');
  if (stat.size === 0) throw missing('is empty');
  return { file: found, sizeBytes: stat.size };
}

/** The text of `outputs.json`; null when the program wrote none. Throws OUTPUT_MISSING when it is too large. */
export async function readOutputsFile(
  { outputsFile }: ProgramFiles,
  maxBytes: number,
): Promise<string | null> {
  const found = await lstat(outputsFile).catch(() => null);
  if (found === null) return null;
  if (!found.isFile() || found.size > maxBytes) {
    throw new StepError(
      'OUTPUT_MISSING',
      `$ADIT_OUTPUTS_FILE is no regular file of at most ${maxBytes} bytes.`,
    );
  }
  return readHeadAndTail(outputsFile, maxBytes);
}
