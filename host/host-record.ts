/** Who the host of a state folder is: its secret, and what the lock file says of who holds it. */
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { isDiskFull, StepError } from '../core/error.js';
import { assertOurFolder, type HostFolder } from './host-folder.js';

/** Makes the folder where it is missing. Throws HOST_UNUSABLE when it is not ours alone. */
export function openHostFolder(folder: HostFolder): void {
  mkdirSync(folder.root, { recursive: true, mode: 0o700 });
  assertOurFolder(folder.root, lstatSync(folder.root));
  mkdirSync(folder.programs, { recursive: true, mode: 0o700 });
}

/** The secret that clients of this user can read, and nobody else; made once, then kept. */
export function openSecret(file: string): string {
  const found = lstatSync(file, { throwIfNoEntry: false });
  const isOurs = found?.isFile() === true && found.uid === process.geteuid?.();
  if (isOurs && (found.mode & 0o077) === 0) {
    const kept = readFileSync(file, 'utf8').trim();
    if (/^[0-9a-f]{64}$/.test(kept)) return kept;
  }
  const secret = randomBytes(32).toString('hex');
  const temporary = `${file}.tmp`;
  writeFileSync(temporary, `${secret}\n`, { mode: 0o600 });
  renameSync(temporary, file);
  return secret;
}

/** Cause of the error of a host that found another one for its state folder. */
export const LOCK_IS_HELD = 'the lock of the state folder is held';

/** Says in the lock file who has it: what a second host is told. A full disk does not keep a host from its programs. */
export function signLock(file: string, build: string): void {
  const who = `process ${process.pid} of build ${build} on ${hostname()}, since ${new Date().toISOString()}`;
  try {
    writeFileSync(file, `${who}\n`);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

export function lockHeld(folder: HostFolder): StepError {
  const holder = readFileSync(folder.lock, 'utf8').trim().slice(0, 300);
  return new StepError(
    'HOST_UNUSABLE',
    `Another process host has ${folder.root}: ${holder === '' ? 'it does not say who it is' : holder}.`,
    {
      hint: 'There is one for each state folder; stop that one first, or use it.',
      cause: LOCK_IS_HELD,
    },
  );
}
