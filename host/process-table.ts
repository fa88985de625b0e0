/** The processes of this machine, as /proc tells: who is who. Who belongs to a program is in program-tree.ts. */
import { closeSync, openSync, readSync } from 'node:fs';
import { readdir, readlink } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { StepError } from '../core/error.js';

/**
 * One process, for good. A pid alone is used again; together with the ticks at which the process began, the
 * boot, and the pid namespace in which the pid counts, it is not.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly bootId: string;
  /** Where `pid` counts, as /proc/self/ns/pid names it; empty in records that do not say it: taken as ours. */
  readonly pidNamespace: string;
}

/** A living process. */
export interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly startTicks: number;
  /** What the kernel notes of it, as bits. */
  readonly flags: number;
}

/** A living process; null when there is none or it is a zombie. */
export async function readStat(pid: number): Promise<ProcessStat | null> {
  return readStatNow(pid);
}

function readStatNow(pid: number): ProcessStat | null {
  const text = readProcFile(`/proc/${pid}/stat`);
  // The name stands in parentheses and may hold blanks and parentheses itself.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (text === '' || fields[0] === 'Z' || fields[0] === 'X') return null;
  return {
    pid,
    parent: Number(fields[1]),
    group: Number(fields[2]),
    startTicks: Number(fields[19]),
    flags: Number(fields[6]),
  };
}

/** PF_FORKNOEXEC of the kernel: set by a fork, cleared by an exec. */
const IS_FORK = 0x40;

/**
 * True for a process that is what it was forked as: it has the handlers of its parent, perhaps only until it becomes
 * another program. The look that `stat` is of must come before the one at its handlers.
 */
export function isFork({ pid, flags }: ProcessStat): boolean {
  // An exec clears the flag before it drops the handlers, and shows the new command line after that.
  return (flags & IS_FORK) !== 0 || readProcFile(`/proc/${pid}/cmdline`) === '';
}

/** The same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** For how long a process has lived, in milliseconds; time in which the machine slept may be missing. */
export function ageMs({ startTicks }: ProcessStat): number {
  // Not by /proc/uptime, which in some containers is that of the container.
  ownStartTicks ??= readStatNow(process.pid)?.startTicks ?? 0;
  const sinceOwnStartMs = ((startTicks - ownStartTicks) / TICKS_PER_SECOND) * 1_000;
  return process.uptime() * 1_000 - sinceOwnStartMs;
}

let ownStartTicks: number | undefined;

/** So many processes are read before others get their turn. */
const READ_AT_ONCE = 200;

/** Every living process that this one can see, as `read` tells them. */
export async function mapProcesses<T>(read: (stat: ProcessStat) => T): Promise<T[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found: T[] = [];
  for (const [index, name] of names.entries()) {
    if (index % READ_AT_ONCE === READ_AT_ONCE - 1) await nextTurn();
    const stat = readStatNow(Number(name));
    if (stat !== null) found.push(read(stat));
  }
  return found;
}

/** Every living process that this one can see. */
export function readProcesses(): Promise<ProcessStat[]> {
  return mapProcesses((stat) => stat);
}

const buffer = Buffer.alloc(64 * 1024);

/**
 * A file of /proc, its bytes as latin1; empty when it cannot be read. Not asynchronous: the kernel
 * has the text at once, and a thread for each of some hundred files costs ten times more than reading them.
 */
export function readProcFile(file: string): string {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch {
    return '';
  }
  try {
    let text = '';
    for (;;) {
      const length = readSync(fd, buffer, 0, buffer.length, null);
      if (length === 0) return text;
      text += buffer.toString('latin1', 0, length);
    }
  } catch {
    // It ended between the two.
    return '';
  } finally {
    closeSync(fd);
  }
}

/** The pid namespace of a process, `pid:[4026531836]`; null when it is gone or belongs to someone else. */
export function readPidNamespace(pid: number | 'self'): Promise<string | null> {
  return readlink(`/proc/${pid}/ns/pid`).catch(() => null);
}

let bootId = '';
let ownPidNamespace: string | null = null;

/** Boot and namespace of this process, neither of which ever changes. Throws PROGRAM_UNUSABLE where there is no /proc. */
async function readOwnPlace(): Promise<{ bootId: string; pidNamespace: string }> {
  ownPidNamespace ??= await readPidNamespace('self');
  return { bootId: readBootId(), pidNamespace: ownPidNamespace ?? '' };
}

/** Names the machine since it was started. Throws PROGRAM_UNUSABLE where there is no /proc. */
export function readBootId(): string {
  if (bootId === '') bootId = readProcFile('/proc/sys/kernel/random/boot_id').trim();
  if (bootId === '') {
    throw new StepError(
      'PROGRAM_UNUSABLE',
      'Programs are followed through /proc, which this system does not have.',
      { hint: 'Run the process host on Linux.' },
    );
  }
  return bootId;
}

/** The identity of a living process; null when it has ended. Throws PROGRAM_UNUSABLE where there is no /proc. */
export async function identify(pid: number): Promise<ProcessIdentity | null> {
  const place = await readOwnPlace();
  const stat = await readStat(pid);
  return stat === null ? null : { pid, startTicks: stat.startTicks, ...place };
}

/**
 * Whether exactly this process lives. `elsewhere`: its pid counts in another pid namespace of this boot, so
 * that only the program's lock can tell.
 */
export async function look(identity: ProcessIdentity): Promise<'alive' | 'gone' | 'elsewhere'> {
  const here = await readOwnPlace();
  if (here.bootId !== identity.bootId) return 'gone';
  const isSaid = identity.pidNamespace !== '' && here.pidNamespace !== '';
  if (isSaid && identity.pidNamespace !== here.pidNamespace) {
    return 'elsewhere';
  }
  const stat = await readStat(identity.pid);
  return stat?.startTicks === identity.startTicks ? 'alive' : 'gone';
}
