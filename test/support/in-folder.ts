import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { until } from './until.js';
import { processesOf } from './witness.js';

/** Runs `body` with a temporary folder, then ends every process that belongs to it and removes it. */
export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-fault-'));
  try {
    return await body(folder);
  } finally {
    await endProcessesOf(folder);
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Kills what belongs to a folder, by the pid of each. */
export async function endProcessesOf(folder: string): Promise<void> {
  await until('the processes of the folder to be gone', async () => {
    const pids = await processesOf(folder);
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        // It has ended meanwhile.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    return pids.length === 0;
  });
}
