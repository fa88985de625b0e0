/** Questions about real processes. A zombie counts as ended: it only waits for its parent to look. */
import { readdir, readFile } from 'node:fs/promises';

/** True while a process of the group runs. */
export async function isGroupAlive(group: number): Promise<boolean> {
  if (process.platform !== 'linux') {
    return canSignal(-group);
  }
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const states = await Promise.all(pids.map(processState));
  return states.some((state) => state !== undefined && state.group === group && !state.zombie);
}

/** True while the process runs. */
export async function isProcessAlive(pid: number): Promise<boolean> {
  if (process.platform !== 'linux') {
    return canSignal(pid);
  }
  const state = await processState(String(pid));
  return state !== undefined && !state.zombie;
}

async function processState(pid: string): Promise<{ group: number; zombie: boolean } | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The program's name stands in brackets and may hold anything.
  const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return stat === '' ? undefined : { group: Number(group), zombie: state === 'Z' };
}

function canSignal(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
