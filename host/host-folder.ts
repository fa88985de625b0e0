/** `<state>/host`: the folder of the process host, which is for its user alone. */
import type { Stats } from 'node:fs';
import path from 'node:path';
import { StepError } from '../core/error.js';

export interface HostFolder {
  readonly root: string;
  readonly lock: string;
  readonly socket: string;
  readonly secret: string;
  /** The index of the starts that live. */
  readonly programs: string;
}

export function hostFolder(stateDir: string): HostFolder {
  const root = path.join(path.resolve(stateDir), 'host');
  return {
    root,
    lock: path.join(root, 'lock'),
    socket: path.join(root, 'socket'),
    secret: path.join(root, 'secret'),
    programs: path.join(root, 'programs'),
  };
}

/** Throws HOST_UNUSABLE when another user could have put a socket there. */
export function assertOurFolder(root: string, found: Stats): void {
  const uid = process.geteuid?.();
  const refuse = (why: string, hint: string): never => {
    throw new StepError('HOST_UNUSABLE', `The process host's folder ${root} ${why}.`, { hint });
  };
  if (!found.isDirectory()) refuse('is no directory', 'Remove what is in its place.');
  if (found.uid !== uid) {
    refuse(
      `belongs to the user with id ${found.uid}, not to ${uid}`,
      'Run Adit as that user, or with a state folder of your own.',
    );
  }
  if ((found.mode & 0o077) !== 0) {
    refuse(
      `is open to other users (mode ${(found.mode & 0o777).toString(8)})`,
      `Close it: chmod 700 ${root}`,
    );
  }
}
