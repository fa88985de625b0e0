import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import {
  endProcess,
  identifyProcess,
  type ProcessIdentity,
} from '../adapters/temporal-server/process-identity.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { CliFailure } from './failure.js';
import { findPackage } from '../adapters/package/find-package.js';

const READY_TIMEOUT_MS = 60_000;

export interface ChildStart {
  /** Name for people and log files. */
  readonly name: string;
  /** Compiled program, relative to `dist/`. */
  readonly program: string;
  readonly args: readonly string[];
  /** A compiled module, relative to `dist/`, that is loaded before the program. */
  readonly preload?: string;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly logFolder: string;
  readonly signal?: AbortSignal;
}

export interface Child {
  readonly process: ProcessIdentity;
  /** The JSON line that it printed when it was ready. */
  readonly ready: JsonObject;
  readonly logFile: string;
}

/** The compiled program of another process of Adit. */
export function findProgram(program: string): string {
  const file = path.join(findPackage().root, 'dist', program);
  if (existsSync(file)) return file;
  throw new CliFailure('NOT_BUILT', `${file} is missing: Adit is not built.`, {
    hint: 'Run `npm run build`.',
  });
}

/**
 * Starts a program of ours in a process group of its own, so that it outlives this command unless it is
 * ended, and waits for its ready line. Its output goes to files: a pipe would die with this command.
 */
export async function startChild(start: ChildStart): Promise<Child> {
  const file = findProgram(start.program);
  mkdirSync(start.logFolder, { recursive: true });
  const logFile = path.join(start.logFolder, `${start.name}.log`);
  const outFile = path.join(start.logFolder, `${start.name}.ready.json`);
  // The ready line of the devnet holds its admin token.
  const out = openSync(outFile, 'w', 0o600);
  const log = openSync(logFile, 'a', 0o600);
  const before =
    start.preload === undefined ? [] : ['--import', pathToFileURL(findProgram(start.preload)).href];
  const child = spawn(process.execPath, [...before, file, ...start.args], {
    detached: true,
    cwd: start.cwd,
    env: start.env,
    stdio: ['ignore', out, log],
  });
  closeSync(out);
  closeSync(log);
  let ended: string | null = null;
  child.once('error', (error) => (ended = error.message));
  child.once(
    'exit',
    (code, signal) => (ended = signal === null ? `exit code ${code}` : `signal ${signal}`),
  );
  child.unref();
  const identity = child.pid === undefined ? null : identifyProcess(child.pid);
  try {
    for (const deadline = Date.now() + READY_TIMEOUT_MS; ;) {
      start.signal?.throwIfAborted();
      const ready = await readLine(outFile);
      if (ready !== null && identity !== null) return { process: identity, ready, logFile };
      if (ended !== null) throw await startFailure(start.name, `it ended with ${ended}`, logFile);
      if (Date.now() > deadline) {
        throw await startFailure(
          start.name,
          `it is not ready after ${READY_TIMEOUT_MS / 1000} s`,
          logFile,
        );
      }
      await sleep(50);
    }
  } catch (error) {
    if (identity !== null) await endProcess(identity, 2_000);
    throw error;
  }
}

async function readLine(file: string): Promise<JsonObject | null> {
  const text = await readFile(file, 'utf8');
  const end = text.indexOf('\n');
  if (end < 0) return null;
  const value: unknown = JSON.parse(text.slice(0, end));
  return isJsonObject(value) ? value : null;
}

async function startFailure(name: string, why: string, logFile: string): Promise<CliFailure> {
  const log = await readFile(logFile, 'utf8').catch(() => '');
  const tail = log.trim().split('\n').slice(-5).join('\n').slice(-1_500);
  return new CliFailure(
    'SERVICE_START_FAILED',
    `The ${name} did not start: ${why}.${tail === '' ? '' : `\n${tail}`}`,
    {
      hint: `Its log is ${logFile}.`,
    },
  );
}
