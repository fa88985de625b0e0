import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** One process, told apart from a later one that got the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When the process began, in a form that only equality is asked of; empty when the system does not say. */
  readonly birth: string;
}

/** The identity of a living process; null when there is none, or only a zombie. */
export function identifyProcess(pid: number): ProcessIdentity | null {
  if (process.platform === 'linux') return fromProc(pid);
  try {
    const birth = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return { pid, birth: birth.trim() };
  } catch {
    return null;
  }
}

/** True when exactly this process still lives. */
export function isAlive(identity: ProcessIdentity): boolean {
  const found = identifyProcess(identity.pid);
  return found !== null && (identity.birth === '' || found.birth === identity.birth);
}

function fromProc(pid: number): ProcessIdentity | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The name, in parentheses, may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return null;
  return { pid, birth: fields[19] ?? '' };
}

/**
 * Ends the process group of `identity`: TERM, and KILL after `graceMs`. Returns when the process is gone;
 * true when it ended by itself within the grace.
 */
export async function endProcess(identity: ProcessIdentity, graceMs: number): Promise<boolean> {
  if (!isAlive(identity)) return true;
  sendSignal(identity.pid, 'SIGTERM');
  if (await goneWithin(identity, graceMs)) return true;
  sendSignal(identity.pid, 'SIGKILL');
  await goneWithin(identity, 5_000);
  return false;
}

function sendSignal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, signal);
      return;
    } catch (error) {
      // ESRCH for the group: the process does not lead one, so it is signalled alone.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

async function goneWithin(identity: ProcessIdentity, limitMs: number): Promise<boolean> {
  const deadline = Date.now() + limitMs;
  while (isAlive(identity)) {
    if (Date.now() >= deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return true;
}
