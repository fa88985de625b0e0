import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';

/** Bytes that files and folders take on the disk; links are not followed, and what is not there takes none. */
export async function diskUse(paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const file of paths) {
    const found = await lstat(file).catch(() => null);
    if (found === null) continue;
    bytes += found.blocks * 512;
    if (!found.isDirectory()) continue;
    const names = await readdir(file).catch(() => []);
    bytes += await diskUse(names.map((name) => path.join(file, name)));
  }
  return bytes;
}
