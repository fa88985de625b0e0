/** Who the host of a state folder is: its secret, and what the lock file says of who holds it. */
import { randomBytes } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { isDiskFull, StepError } from '../core/error.js';
import { plainText } from '../core/plain-text.js';
import { assertOurFolder, type HostFolder } from './host-folder.js';
import { readBootId } from './process-table.js';

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
  writeLock(file, `${who}\n${BOOT}${readBootId()}\n`);
}

/** So that another machine may have the state folder at once. */
export function unsignLock(file: string): void {
  writeLock(file, '');
}

function writeLock(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}

/** Renews the signature: the host lives. What fails here, fails where it matters, too. */
export function touchLock(file: string): void {
  const now = new Date();
  try {
    utimesSync(file, now, now);
  } catch {
    // The folder was removed, or the disk is gone.
  }
}

const BOOT = 'boot ';
export const TOUCH_LOCK_EVERY_MS = 20_000;
const ANOTHERS_FOR_MS = 3 * TOUCH_LOCK_EVERY_MS;

/**
 * Locks of a folder that two machines have in some way may not keep them apart, so the signature must: throws
 * HOST_UNAVAILABLE when another machine renewed it a moment ago. Call it with the lock held, before `signLock`.
 */
export function assertOurMachine({ lock, root }: HostFolder): void {
  const [who = '', boot = ''] = readFileSync(lock, 'utf8').split('\n');
  const silentMs = Date.now() - statSync(lock).mtimeMs;
  const isOurs = boot === `${BOOT}${readBootId()}` || who.includes(` on ${hostname()}, since `);
  // Unsigned, or signed by a build before there was a boot in it.
  if (isOurs || !boot.startsWith(BOOT) || silentMs > ANOTHERS_FOR_MS) return;
  throw new StepError(
    'HOST_UNAVAILABLE',
    `Another machine had ${root} ${Math.max(0, Math.round(silentMs / 1_000))} s ago: ${plainText(who, 300)}.`,
    {
      hint: `A state folder belongs to one machine: give each its own (ADIT_STATE_DIR). Where it was moved here, start again in ${ANOTHERS_FOR_MS / 1_000} s.`,
    },
  );
}

export function lockHeld(folder: HostFolder): StepError {
  const [holder = ''] = readFileSync(folder.lock, 'utf8').slice(0, 300).split('\n');
  return new StepError(
    'HOST_UNUSABLE',
    `Another process host has ${folder.root}: ${holder === '' ? 'it does not say who it is' : holder}.`,
    {
      hint: 'There is one for each state folder; stop that one first, or use it.',
      cause: LOCK_IS_HELD,
    },
  );
}
