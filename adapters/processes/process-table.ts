/** The processes of this machine, as /proc tells: who is who, and who belongs to a program of ours. */
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { StepError } from '../../core/error.js';

/**
 * Which process leads a program's group. A pid alone is used again; together with the ticks at which the
 * process began, and the boot, it is not.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly bootId: string;
}

/** Environment variable that each process of a program inherits, also one that leaves the group. */
export const PROCESS_MARKER = 'ADIT_PROCESS_ID';

interface ProcessStat {
  readonly pid: number;
  readonly group: number;
  readonly startTicks: number;
}

/** A living process; null when there is none or it is a zombie. */
async function readStat(pid: number): Promise<ProcessStat | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (text === null) return null;
  // The name stands in parentheses and may hold blanks and parentheses itself.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return null;
  return { pid, group: Number(fields[2]), startTicks: Number(fields[19]) };
}

async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** The identity of a living process; null when it has ended. Throws PROGRAM_UNUSABLE where there is no /proc. */
export async function identify(pid: number): Promise<ProcessIdentity | null> {
  const bootId = await readBootId().catch((error: unknown) => {
    throw new StepError(
      'PROGRAM_UNUSABLE',
      'Programs are followed through /proc, which this system does not have.',
      {
        hint: 'Run the worker on Linux.',
        cause: error,
      },
    );
  });
  const stat = await readStat(pid);
  return stat === null ? null : { pid, startTicks: stat.startTicks, bootId };
}

/** True while exactly this process lives. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await identify(identity.pid);
  return now?.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** The living processes of a program: its group, and whoever carries its marker. */
async function findMembers(leader: ProcessIdentity, marker: string): Promise<ProcessStat[]> {
  if ((await readBootId()) !== leader.bootId) return [];
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const needle = `${PROCESS_MARKER}=${marker}`;
  const leads = await readStat(leader.pid);
  const groupIsOurs = leads === null || leads.startTicks === leader.startTicks;
  const members: ProcessStat[] = [];
  for (const name of names) {
    const stat = await readStat(Number(name));
    if (stat === null) continue;
    const inGroup =
      groupIsOurs && stat.group === leader.pid && stat.startTicks >= leader.startTicks;
    if (inGroup || (await hasInEnvironment(stat.pid, needle))) members.push(stat);
  }
  return members;
}

async function hasInEnvironment(pid: number, entry: string): Promise<boolean> {
  // Unreadable for processes of other users, which cannot be ours.
  const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
  return environment.split('\0').includes(entry);
}

const POLL_MS = 50;
const UNKILLABLE_AFTER_MS = 30_000;

/**
 * Ends every process of a program: TERM, and KILL after `graceMs`. Returns when none is left. Throws
 * PROGRAM_LOST when one cannot be killed: starting it a second time would not be safe.
 */
export async function endProgram(
  leader: ProcessIdentity,
  marker: string,
  graceMs: number,
): Promise<void> {
  let members = await findMembers(leader, marker);
  if (members.length === 0) return;
  signalAll(members, leader, 'SIGTERM');
  const graceEndsAt = Date.now() + graceMs;
  while (Date.now() < graceEndsAt) {
    await sleep(POLL_MS);
    members = await findMembers(leader, marker);
    if (members.length === 0) return;
  }
  const givenUpAt = Date.now() + UNKILLABLE_AFTER_MS;
  while (members.length > 0) {
    if (Date.now() > givenUpAt) {
      throw new StepError(
        'PROGRAM_LOST',
        `Process ${members[0]?.pid} of the program cannot be killed.`,
        {
          hint: 'It waits in the kernel, for example for a device or a network disk; look at it on the host.',
        },
      );
    }
    // Each time anew: a process may have forked between the look and the signal.
    signalAll(members, leader, 'SIGKILL');
    await sleep(POLL_MS);
    members = await findMembers(leader, marker);
  }
}

function signalAll(
  members: readonly ProcessStat[],
  leader: ProcessIdentity,
  signal: 'SIGTERM' | 'SIGKILL',
): void {
  // The group at once, so that no member sees another end first; then who has left it.
  const targets = members.some(({ group }) => group === leader.pid) ? [-leader.pid] : [];
  for (const { pid, group } of members) if (group !== leader.pid) targets.push(pid);
  for (const target of targets) {
    send(target, signal);
    // A stopped process takes a TERM only when it goes on.
    send(target, 'SIGCONT');
  }
}

function send(target: number, signal: NodeJS.Signals): void {
  try {
    process.kill(target, signal);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}
