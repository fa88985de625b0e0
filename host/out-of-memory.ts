/** What the kernel says about memory that ran out. */
import { readProcFile } from './process-table.js';

/**
 * How many processes of this machine the kernel has killed since the boot for want of memory, those of every
 * container included; 0 where it does not say.
 */
export function readOomKills(): number {
  const text = readProcFile('/proc/vmstat');
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}
