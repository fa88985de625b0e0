/**
 * Starts a program: its folder, its shim, its owner record, and then the word.
 *
 * The order on the disk is what makes a crash at any point harmless. Until the word is given only the shim lives, and
 * it ends by itself when this process dies; from the word on, everything that a later host needs is recorded.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { errorMessage, StepError } from '../core/error.js';
import type { ProgramFiles, ProgramToken } from '../core/host-protocol.js';
import { plainText } from '../core/plain-text.js';
import type { Containment } from './containment.js';
import type { FileHandleLike } from './lock.js';
import { readOomKills } from './out-of-memory.js';
import {
  reserveBlocks,
  writeOwner,
  writeSpec,
  type OwnerRecord,
  type SpecRecord,
} from './program-records.js';
import { PROCESS_MARKER, recordTree, type TreeRecord } from './program-tree.js';
import { SHIM } from './shim.js';

export interface StartRequest {
  readonly files: ProgramFiles;
  readonly spec: SpecRecord;
  /** The whole environment of the program but for its marker. */
  readonly env: { readonly [name: string]: string };
  readonly marker: string;
  readonly token: ProgramToken;
  readonly containment: Containment;
  /** The file whose lock the program holds for as long as anything of it lives, and flock(1), which takes it. */
  readonly lockFile: string;
  readonly flock: string;
  readonly devices: { readonly ids: readonly string[]; readonly locks: readonly FileHandleLike[] };
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
}

/** Throws PROGRAM_UNUSABLE when it cannot be started, PROGRAM_LOST when the shim ended before it was recorded. */
export async function startProgram(request: StartRequest): Promise<StartedProgram> {
  const { files, marker } = request;
  requireDirectory(request.spec.cwd);
  const [child, oomKills] = await Promise.all([spawnShim(request), readOomKills()]);
  const word = child.stdio[3] as Writable | null | undefined;
  word?.on('error', () => {});
  try {
    const tree = await recordTree(child.pid ?? 0, marker, request.containment);
    if (tree === null || word === null || word === undefined) {
      throw new StepError('PROGRAM_LOST', 'The shim of the program ended before it was recorded.');
    }
    const owner = record(request, tree, oomKills);
    writeOwner(files.root, owner);
    word.end('go\n');
    return { child, owner };
  } catch (error) {
    // Without the word the shim ends by itself; only then may another be started.
    const ended = hasEnded(child);
    word?.destroy();
    await ended;
    throw error;
  }
}

function record(request: StartRequest, tree: TreeRecord, oomKills: number): OwnerRecord {
  return {
    ...tree,
    version: request.spec.version,
    token: request.token,
    startedAtMs: Date.now(),
    devices: request.devices.ids,
    oomKills,
  };
}

async function spawnShim(request: StartRequest): Promise<ChildProcess> {
  const { files, spec, env, marker, containment, devices } = request;
  const [command = '/bin/sh', ...args] = containment.wrap(
    ['/bin/sh', '-c', SHIM, 'shim', request.flock, ...spec.argv],
    marker,
  );
  const opened: number[] = [];
  const openFile = (file: string, flags: string): number => {
    const fd = openSync(file, flags, 0o600);
    opened.push(fd);
    return fd;
  };
  try {
    const log = openFile(files.log, 'a');
    const lock = openFile(request.lockFile, 'wx');
    const exit = openFile(path.join(files.root, 'exit.json'), 'r+');
    const child = spawn(command, args, {
      cwd: spec.cwd,
      env: { ...env, [PROCESS_MARKER]: marker },
      detached: true,
      // What contains the shim may say something of its own when it is killed: not into the program's output.
      stdio: ['ignore', log, 'ignore', 'pipe', lock, exit, ...devices.locks.map(({ fd }) => fd)],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    return child;
  } catch (error) {
    if (isDiskError(error)) throw error;
    // Also thrown at once, for what no system could run: a NUL character, or a command that is too long.
    throw unusable(spec.cwd, plainText(errorMessage(error), 300), error);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** One of the opens, not of the spawn. */
function isDiskError(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).syscall === 'open';
}

function requireDirectory(cwd: string): void {
  const found = statSync(cwd, { throwIfNoEntry: false });
  if (found === undefined) throw unusable(cwd, 'there is no such directory');
  if (!found.isDirectory()) throw unusable(cwd, 'it is no directory');
}

function unusable(cwd: string, why: string, cause?: unknown): StepError {
  return new StepError(
    'PROGRAM_UNUSABLE',
    `The program could not be started in ${cwd}: ${why}`,
    cause === undefined ? {} : { cause },
  );
}

function hasEnded(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
  });
}
