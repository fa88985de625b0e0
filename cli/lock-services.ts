import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  identifyProcess,
  isAlive,
  type ProcessIdentity,
} from '../adapters/temporal-server/process-identity.js';
import {
  readServices,
  servicesFolder,
  type ServicesKind,
} from '../adapters/temporal-server/services-file.js';
import { CliFailure } from './failure.js';

/**
 * One `adit dev` (or `adit demo`) at a time per state folder. The lock names its process, so that one that
 * was killed blocks nobody. Throws CliFailure ALREADY_RUNNING with what runs; returns the release.
 */
export function lockServices(stateDir: string, kind: ServicesKind): () => void {
  const folder = servicesFolder(stateDir, kind);
  const file = path.join(folder, 'lock.json');
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new CliFailure(
      'STATE_UNUSABLE',
      `The state folder ${stateDir} cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      { hint: 'Set ADIT_STATE_DIR to a folder that you can write to.' },
    );
  }
  for (;;) {
    try {
      writeFileSync(file, JSON.stringify(identifyProcess(process.pid)), { flag: 'wx' });
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = readHolder(file);
    if (holder !== null && isAlive(holder)) throw alreadyRunning(stateDir, kind, holder);
    rmSync(file, { force: true });
  }
}

function readHolder(file: string): ProcessIdentity | null {
  try {
    const { pid, birth } = JSON.parse(readFileSync(file, 'utf8')) as Partial<ProcessIdentity>;
    return typeof pid === 'number' && typeof birth === 'string' ? { pid, birth } : null;
  } catch {
    return null;
  }
}

function alreadyRunning(
  stateDir: string,
  kind: ServicesKind,
  { pid }: ProcessIdentity,
): CliFailure {
  const services = readServices(stateDir, kind);
  const where =
    services === null
      ? 'It is just starting.'
      : `Its Temporal server is ${services.temporal.address}, its UI ${services.temporal.ui ?? 'off'}.`;
  return new CliFailure(
    'ALREADY_RUNNING',
    `\`adit ${kind}\` is already running here (process ${pid}).`,
    {
      hint: `${where} End it with Ctrl-C in its terminal, or by: kill ${pid}`,
    },
  );
}
