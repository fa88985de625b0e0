/**
 * Starts a program: its folder, its owner record, and then the word to a shim that waits for it.
 *
 * The order on the disk is what makes a crash at any point harmless. Until the word is given only the shim lives, and
 * it ends by itself when this process dies; from the word on, everything that a later host needs is recorded.
 */
import type { ChildProcess } from 'node:child_process';
import { accessSync, closeSync, constants, mkdirSync, openSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, StepError } from '../core/error.js';
import type { ProgramFiles, ProgramToken } from '../core/host-protocol.js';
import { plainText } from '../core/plain-text.js';
import { readOomKills } from './out-of-memory.js';
import {
  reserveBlocks,
  writeOwner,
  writeSpec,
  type OwnerRecord,
  type SpecRecord,
} from './program-records.js';
import type { Shim } from './shim-process.js';
import { shimWord } from './shim.js';

export interface StartRequest {
  readonly files: ProgramFiles;
  readonly spec: SpecRecord;
  /** The whole environment of the program but for its marker. */
  readonly env: { readonly [name: string]: string };
  readonly token: ProgramToken;
  readonly devices: readonly string[];
}

export interface StartedProgram {
  readonly child: ChildProcess;
  readonly owner: OwnerRecord;
}

/** Empties the folder of a start and makes what comes before the program. */
export async function prepareFolder(files: ProgramFiles, spec: SpecRecord): Promise<void> {
  if (statSync(files.root, { throwIfNoEntry: false }) !== undefined) {
    // First: without it no exit is taken for a result, should this be cut short.
    await rm(path.join(files.root, 'owner.json'), { force: true });
    await rm(files.root, { recursive: true, force: true });
  }
  mkdirSync(path.dirname(files.log), { recursive: true, mode: 0o700 });
  mkdirSync(files.outputDir, { mode: 0o700 });
  mkdirSync(files.workDir, { mode: 0o700 });
  reserveBlocks(files.root);
  writeSpec(files.root, spec);
  closeSync(openSync(files.log, 'wx', 0o600));
}

/** Records the program and gives its shim the word. */
export function startProgram(shim: Shim, request: StartRequest): StartedProgram {
  const { files, spec, env, token, devices } = request;
  const owner: OwnerRecord = {
    ...shim.tree,
    version: spec.version,
    token,
    startedAtMs: Date.now(),
    devices,
    oomKills: readOomKills(),
  };
  writeOwner(files.root, owner);
  shim.say(
    shimWord({
      argv: spec.argv,
      cwd: spec.cwd,
      env,
      log: files.log,
      exit: path.join(files.root, 'exit.json'),
    }),
  );
  return { child: shim.child, owner };
}

/** Throws PROGRAM_UNUSABLE for what no system could run, and where the program may not be. */
export function requireRunnable({ argv, cwd }: SpecRecord, env: StartRequest['env']): void {
  const why = whyNotIn(cwd);
  if (why !== null) throw unusable(cwd, why);
  for (const [index, word] of argv.entries()) requireWord(cwd, `argument ${index}`, word);
  for (const [name, value] of Object.entries(env)) requireWord(cwd, name, `${name}=${value}`);
}

function whyNotIn(cwd: string): string | null {
  try {
    const found = statSync(cwd, { throwIfNoEntry: false });
    if (found === undefined) return 'there is no such directory';
    if (!found.isDirectory()) return 'it is no directory';
    accessSync(cwd, constants.X_OK);
    return null;
  } catch (error) {
    return plainText(errorMessage(error), 300);
  }
}

/** MAX_ARG_STRLEN of Linux, without the NUL at its end. */
const MOST_WORD_BYTES = 128 * 1024 - 1;

function requireWord(cwd: string, what: string, word: string): void {
  if (word.includes('\0')) throw unusable(cwd, `${what} holds a NUL character`);
  if (Buffer.byteLength(word) > MOST_WORD_BYTES) {
    throw unusable(
      cwd,
      `${what} is longer than the ${MOST_WORD_BYTES} bytes that the system allows`,
    );
  }
}

function unusable(cwd: string, why: string): StepError {
  return new StepError('PROGRAM_UNUSABLE', `The program could not be started in ${cwd}: ${why}`);
}
