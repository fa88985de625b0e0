/** What the kernel says about memory that ran out. */
import { readFile } from 'node:fs/promises';

/**
 * How many processes of this machine the kernel has killed since the boot for want of memory, those of every
 * container included; 0 where it does not say.
 */
export async function readOomKills(): Promise<number> {
  const text = await readFile('/proc/vmstat', 'utf8').catch(() => '');
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}
