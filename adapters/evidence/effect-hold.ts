/**
 * The switch that holds all effects of the workers of one state folder: `<state>/hold.json`. While it is there
 * nothing is claimed, submitted, cancelled or published; everything else goes on.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { readJson, writeJson } from './json-file.js';

export interface EffectHold {
  /** Who holds, as they call themselves. */
  readonly by: string;
  /** Empty when none was given. */
  readonly reason: string;
  /** ISO 8601, UTC. */
  readonly since: string;
}

const holdFile = (stateDir: string): string => path.join(stateDir, 'hold.json');

/** Null when nothing is held. A file that cannot be understood holds: letting go is for a person to do. */
export async function readHold(stateDir: string): Promise<EffectHold | null> {
  const file = holdFile(stateDir);
  let record;
  try {
    record = await readJson(file);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { by: 'somebody', reason: `${file} cannot be read as JSON`, since: '' };
  }
  if (record === null) return null;
  const text = (name: keyof EffectHold): string =>
    typeof record[name] === 'string' ? record[name] : '';
  return { by: text('by') || 'somebody', reason: text('reason'), since: text('since') };
}

/** Durable when it returns. A hold that is there already is replaced. */
export async function writeHold(stateDir: string, hold: EffectHold): Promise<void> {
  await writeJson(holdFile(stateDir), hold);
}

/** True when there was one. */
export async function removeHold(stateDir: string): Promise<boolean> {
  try {
    await rm(holdFile(stateDir));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
