/** What processes hold in memory, as /proc tells it, in bytes. */
import { readFile, writeFile } from 'node:fs/promises';

export async function residentBytes(pid: number): Promise<number> {
  return readStatus(pid, 'VmRSS');
}

/** The most since the last `forgetPeak`. */
export async function peakBytes(pid: number): Promise<number> {
  return readStatus(pid, 'VmHWM');
}

export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
}

/** Its share of what it holds: pages of several processes count in parts. */
export async function proportionalBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}

async function readStatus(pid: number, name: string): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1];
  if (kilobytes === undefined) throw new Error(`/proc/${pid}/status does not tell ${name}.`);
  return Number(kilobytes) * 1024;
}
