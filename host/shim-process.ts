/** A shim that waits for its word: it holds the lock of a program that is still to come. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import type { Writable } from 'node:stream';
import { errorMessage, StepError } from '../core/error.js';
import type { Containment } from './containment.js';
import { forgetIndex, spareEntry } from './program-index.js';
import { endTree, PROCESS_MARKER, recordTree, type TreeRecord } from './program-tree.js';
import { shimOpening } from './shim.js';

export interface Shim {
  readonly child: ChildProcess;
  /** Who it is, for the owner record; its marker names its entry in the index, too. */
  readonly tree: TreeRecord;
  /** Gives it the word; the program runs from here on. */
  say(word: string): void;
  /** Ends a shim that was not given the word; resolves when it is gone. Never rejects. */
  discard(): Promise<void>;
}

export interface ShimContext {
  /** Folder of the index of live starts. */
  readonly index: string;
  readonly containment: Containment;
  /** Path of flock(1). */
  readonly flock: string;
}

/**
 * Starts a shim, which inherits the locks. It ends by itself when this process dies before the word. Throws
 * PROGRAM_LOST when it ended before it was recorded, PROGRAM_UNUSABLE when it could not be started, and what open(2) throws.
 */
export async function startShim(
  { index, containment, flock }: ShimContext,
  locks: readonly number[] = [],
): Promise<Shim> {
  const marker = randomUUID();
  const lockFile = spareEntry(index, marker);
  const lock = openSync(lockFile, 'wx', 0o600);
  let child: ChildProcess;
  try {
    // The name of the lock file is for people who look at the processes of the machine.
    const shell = ['/bin/sh', '-s', lockFile];
    const [command = '/bin/sh', ...args] = containment.wrap(shell, marker);
    child = spawn(command, args, {
      cwd: '/',
      env: { [PROCESS_MARKER]: marker },
      detached: true,
      // What contains the shim may say something of its own when it is killed: not into the program's output.
      stdio: ['pipe', 'ignore', 'ignore', 'ignore', lock, ...locks],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
  } catch (error) {
    forgetIndex(index, marker);
    throw new StepError(
      'PROGRAM_UNUSABLE',
      `The program's shim could not be started: ${errorMessage(error)}`,
      { hint: 'The machine may have too many processes or too little memory.', cause: error },
    );
  } finally {
    closeSync(lock);
  }
  child.unref();
  const script = child.stdin as Writable & { unref?: () => void };
  script.on('error', () => {});
  script.unref?.();
  script.write(shimOpening(flock));
  let tree: TreeRecord | null = null;
  const discard = async (): Promise<void> => {
    // Without the word it ends by itself, unless somebody has stopped it.
    const ended = hasEnded(child);
    script.destroy();
    const kill = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
    await ended;
    clearTimeout(kill);
    // Takes its cgroup away.
    if (tree !== null) await endTree(tree, 0).catch(() => {});
    forgetIndex(index, marker);
  };
  try {
    tree = await recordTree(child.pid ?? 0, marker, containment);
    if (tree === null) {
      throw new StepError('PROGRAM_LOST', 'The shim of the program ended before it was recorded.');
    }
    return { child, tree, say: (word) => void script.end(word), discard };
  } catch (error) {
    await discard();
    throw error;
  }
}

const KILL_AFTER_MS = 1_000;

function hasEnded(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  // Or this process might end before it.
  child.ref();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
  });
}
