/** What this machine has room for. */
import { mkdir, statfs } from 'node:fs/promises';

export interface Machine {
  /** Bytes that we may still write where `folder` lies; it is made where it is missing. */
  freeBytes(folder: string): Promise<number>;
}

export function createMachine(): Machine {
  return {
    async freeBytes(folder) {
      await mkdir(folder, { recursive: true });
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize;
    },
  };
}
