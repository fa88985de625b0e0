import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';

/**
 * The name of this machine and state folder, as its host tells it and as workers name their queue; made once, then
 * kept. Empty when whoever made it died in between.
 */
export function openHostId(stateDir: string): string {
  const file = path.join(stateDir, 'host-id');
  const name = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, 40);
  try {
    writeFileSync(file, `${name}-${randomBytes(4).toString('hex')}\n`, { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readFileSync(file, 'utf8').trim();
}
