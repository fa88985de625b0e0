/**
 * Locks that live exactly as long as somebody holds them: flock(2) on an open file description.
 *
 * Node cannot call flock, so a short child does, on a descriptor that it inherits. The lock belongs to the open
 * file description, not to that child: it is released when the last copy of the descriptor is closed, in whatever
 * process that is. So a lock that is handed to a program is held until the program and its heirs have ended, and
 * no crash leaves one behind.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { StepError } from '../core/error.js';

/** A held lock. `fd` may be handed to a child through `stdio`; `close` gives up this process's copy. */
export interface FileHandleLike {
  readonly fd: number;
  close(): Promise<void>;
}

/** A lock that somebody only asks about is taken for an instant; so long one waits before it counts as held. */
const WAIT_SECONDS = '0.05';

/**
 * Takes the lock of a file, which is made where missing; null when it is held elsewhere. Throws HOST_UNUSABLE
 * when the file is not a regular one, when flock(1) is missing, or when the file system has no locks.
 */
export async function tryLock(
  file: string,
  { mode = 0o600 }: { readonly mode?: number } = {},
): Promise<(FileHandleLike & { readonly handle: FileHandle }) | null> {
  for (;;) {
    const handle = (await openLockFile(file, 0)) ?? (await openLockFile(file, mode));
    // Somebody removed it between the two looks.
    if (handle === null) continue;
    try {
      if (!(await flock(file, handle, '--exclusive'))) {
        await handle.close();
        return null;
      }
      // A lock on a file that was removed meanwhile keeps nobody out: the next one makes a new file.
      if (await isStillThere(file, handle)) {
        return { fd: handle.fd, handle, close: () => handle.close() };
      }
      await handle.close();
    } catch (error) {
      await handle.close();
      throw error;
    }
  }
}

/** True while somebody holds the lock of a file; false when there is no such file. Errors as `tryLock`. */
export async function isLocked(file: string): Promise<boolean> {
  const handle = await openLockFile(file, 0);
  if (handle === null) return false;
  try {
    return !(await flock(file, handle, '--shared'));
  } finally {
    await handle.close();
  }
}

/**
 * Opens an existing file (`createMode` 0) or makes one; null when it is not there, or is there already.
 * Never both at once: in a folder that is shared and sticky the kernel refuses O_CREAT on another user's file.
 */
async function openLockFile(file: string, createMode: number): Promise<FileHandle | null> {
  const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const create = createMode === 0 ? 0 : constants.O_CREAT | constants.O_EXCL;
  let handle: FileHandle;
  try {
    handle = await open(file, flags | create, createMode);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === (createMode === 0 ? 'ENOENT' : 'EEXIST')) return null;
    if (code === 'ELOOP') throw notALock(file, 'is a symbolic link');
    if (code === 'EISDIR') throw notALock(file, 'is a directory');
    if (code === 'ENXIO') throw notALock(file, 'is no regular file');
    if (code === 'EACCES' || code === 'EPERM') throw notALock(file, 'belongs to someone else');
    throw error;
  }
  try {
    if (!(await handle.stat()).isFile()) throw notALock(file, 'is no regular file');
    // The mode that was asked for, whatever the umask: others must be able to ask about the lock.
    if (create !== 0) await handle.chmod(createMode);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function notALock(file: string, why: string): StepError {
  return new StepError('HOST_UNUSABLE', `The lock file ${file} ${why}.`, {
    hint: 'Remove it when it is not needed by anybody else, and start again.',
  });
}

async function isStillThere(file: string, handle: FileHandle): Promise<boolean> {
  const [held, named] = await Promise.all([handle.stat(), stat(file).catch(() => null)]);
  return named !== null && named.ino === held.ino && named.dev === held.dev;
}

function flock(file: string, handle: FileHandle, kind: '--exclusive' | '--shared') {
  return new Promise<boolean>((resolve, reject) => {
    const child = spawn('flock', [kind, '--timeout', WAIT_SECONDS, '3'], {
      stdio: ['ignore', 'ignore', 'pipe', handle.fd],
    });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 500);
    });
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'ENOENT'
          ? new StepError('HOST_UNUSABLE', 'The program flock is missing.', {
              hint: 'Install the package util-linux, and have its programs on the PATH of the process host.',
              cause: error,
            })
          : error,
      );
    });
    child.once('close', (code) => {
      if (code === 0) resolve(true);
      // Held elsewhere: status 1, without a word.
      else if (code === 1 && said === '') resolve(false);
      else {
        reject(
          new StepError(
            'HOST_UNUSABLE',
            `The file ${file} cannot be locked: ${said.trim() || `flock ended with ${code}`}`,
            { hint: 'Locks need a local file system and flock of util-linux.' },
          ),
        );
      }
    });
  });
}
