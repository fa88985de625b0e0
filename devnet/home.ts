/**
 * The folder that holds all of one devnet: its state, keys, certificate, artifacts and repositories.
 * One devnet at a time uses it; the lock is the kernel's and ends with the process.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import Database from 'libsql';

/** Something the person who started the command must act on. */
export class DevnetError extends Error {
  readonly code: string;
  readonly hint: string;
  constructor(code: string, message: string, hint: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DevnetError';
    this.code = code;
    this.hint = hint;
  }
}

/** `devnet` in Adit's state folder: `ADIT_STATE_DIR`, else `adit` in the XDG state folder. */
export function defaultHome(env: NodeJS.ProcessEnv): string {
  const xdg = env['XDG_STATE_HOME'];
  const state =
    xdg !== undefined && path.isAbsolute(xdg) ? xdg : path.join(homedir(), '.local', 'state');
  return path.resolve(env['ADIT_STATE_DIR'] ?? path.join(state, 'adit'), 'devnet');
}

/** Makes the folder if need be and locks it. Throws DEVNET_HOME_BUSY while another devnet has it. */
export async function lockHome(home: string): Promise<{ release(): void }> {
  await mkdir(home, { recursive: true, mode: 0o700 });
  const lock = new Database(path.join(home, 'lock.sqlite'), { timeout: 0 });
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
  } catch (error) {
    lock.close();
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'SQLITE_BUSY')
      throw error;
    throw new DevnetError(
      'DEVNET_HOME_BUSY',
      `Another devnet is running on ${home}.`,
      'Stop it first, or give this one a folder of its own with --home.',
      { cause: error },
    );
  }
  return {
    release: () => {
      lock.close();
    },
  };
}

/** A secret in a file that only its owner reads; made at first start. */
export async function ensureSecret(file: string): Promise<string> {
  if (existsSync(file)) return (await readFile(file, 'utf8')).trim();
  const secret = randomBytes(24).toString('hex');
  await writePrivately(file, `${secret}\n`);
  return secret;
}

/** Writes the whole file or nothing, readable by its owner alone. */
export async function writePrivately(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.new`;
  await writeFile(temporary, text, { mode: 0o600 });
  // The mode above counts only for a file that was not there.
  await chmod(temporary, 0o600);
  await rename(temporary, file);
}

/** What a running devnet tells commands on the same machine. */
export interface RunningDevnet {
  readonly coordinator: string;
  readonly adminToken: string;
}

const runningFile = (home: string): string => path.join(home, 'running.json');

export async function writeRunning(
  home: string,
  running: RunningDevnet & { pid: number },
): Promise<void> {
  await writePrivately(runningFile(home), `${JSON.stringify(running)}\n`);
}

export async function removeRunning(home: string): Promise<void> {
  await rm(runningFile(home), { force: true });
}

/** The devnet that was started on this folder, alive or not; null when there is none. */
export async function readRunning(home: string): Promise<RunningDevnet | null> {
  if (!existsSync(runningFile(home))) return null;
  const value: unknown = JSON.parse(await readFile(runningFile(home), 'utf8'));
  if (typeof value !== 'object' || value === null) return null;
  if (!('coordinator' in value) || typeof value.coordinator !== 'string') return null;
  if (!('adminToken' in value) || typeof value.adminToken !== 'string') return null;
  return { coordinator: value.coordinator, adminToken: value.adminToken };
}

/** The folder of the package, for the sources and for their compiled form alike. */
export function packageRoot(): string {
  for (
    let folder = import.meta.dirname;
    path.dirname(folder) !== folder;
    folder = path.dirname(folder)
  ) {
    const manifest = path.join(folder, 'package.json');
    if (!existsSync(manifest)) continue;
    const { name } = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: unknown };
    if (name === 'adit-engine') return folder;
  }
  throw new Error(`no package around ${import.meta.dirname}`);
}
