/**
 * Starts the process host of this machine, as a process that a worker's end does not touch: a session of its own, an
 * environment without anything of the worker's, its words in `<state>/host/log`. The host's own lock sees to it that
 * there is one only.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rename, stat, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findPackage } from '../adapters/package/find-package.js';
import { errorMessage, StepError } from '../core/error.js';
import { plainText } from '../core/plain-text.js';

export interface HostStartOptions {
  readonly stateDir: string;
  /** Ids of the devices; null: the host asks nvidia-smi. */
  readonly gpus: readonly string[] | null;
  /** Where the host finds nvidia-smi and the tools of containment; null: the standard places. */
  readonly searchPath: string | null;
  /** Forces a weaker containment than the machine allows; null: the best that it does. */
  readonly containment: string | null;
  /** The host's program; absent: the one of this build. */
  readonly program?: readonly string[];
}

/** A host that nobody needs any more ends itself after this. */
const IDLE_EXIT_SECONDS = 60;
const MOST_LOG_BYTES = 4 * 1024 * 1024;
const STANDARD_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Starts that end at once, one after another, before it is said that the host cannot run. */
const MOST_FAILURES = 3;
const AFTER_FAILURE_MS = 500;
/** Exit statuses of host/main.ts: it found another one for its state folder; it is refused for good. */
const ANOTHER_RUNS = 75;
const REFUSED: ReadonlySet<number | null> = new Set([2, 78]);

/**
 * Returns what sees to it that a host is being started: called while none answers, it starts one unless the one that
 * it started still lives. When several ended at once it throws, with the host's own words, HOST_UNUSABLE where the host
 * refuses to run, and HOST_UNAVAILABLE where it failed otherwise: a build that is just being replaced, a machine out of
 * memory. A step that follows a program then waits and does not fail.
 */
export function createHostStarter(options: HostStartOptions): () => Promise<void> {
  const { stateDir } = options;
  const folder = path.join(path.resolve(stateDir), 'host');
  const log = path.join(folder, 'log');
  let child: ChildProcess | null = null;
  let starting: Promise<void> | null = null;
  let failures = 0;

  async function start(): Promise<void> {
    if (child !== null) {
      if (child.exitCode === null && child.signalCode === null) return;
      const { exitCode } = child;
      const failed = exitCode !== 0 && exitCode !== ANOTHER_RUNS;
      child = null;
      failures = failed ? failures + 1 : 0;
      if (failures >= MOST_FAILURES) {
        failures = 0;
        throw await cannotRun(log, REFUSED.has(exitCode) ? 'HOST_UNUSABLE' : 'HOST_UNAVAILABLE');
      }
      await sleep(AFTER_FAILURE_MS);
    }
    await mkdir(folder, { recursive: true, mode: 0o700 });
    child = await spawnHost(options, log);
  }

  return () => {
    starting ??= start().finally(() => {
      starting = null;
    });
    return starting;
  };
}

async function spawnHost(options: HostStartOptions, log: string): Promise<ChildProcess> {
  const { stateDir, gpus, searchPath, containment } = options;
  const main = path.join(findPackage().root, 'dist', 'host', 'main.js');
  const [program = process.execPath, ...args] = options.program ?? [process.execPath, main];
  await keepLogShort(log);
  const output = await open(log, 'a', 0o600);
  try {
    const child = spawn(
      program,
      [
        ...args,
        '--state-dir',
        path.resolve(stateDir),
        '--idle-exit',
        String(IDLE_EXIT_SECONDS),
        ...(containment === null ? [] : ['--containment', containment]),
        ...(gpus === null ? [] : ['--gpus', gpus.length === 0 ? 'none' : gpus.join(',')]),
      ],
      {
        // Not a folder that somebody may want to remove or unmount while the host lives.
        cwd: '/',
        env: {
          PATH: searchPath ?? STANDARD_PATH,
          HOME: homedir(),
          LANG: 'C.UTF-8',
        },
        detached: true,
        stdio: ['ignore', output.fd, output.fd],
      },
    );
    child.on('error', () => {});
    await Promise.race([
      once(child, 'spawn'),
      once(child, 'error').then(([error]) => {
        throw error;
      }),
    ]);
    child.unref();
    return child;
  } catch (error) {
    throw new StepError(
      'HOST_UNAVAILABLE',
      `The process host could not be started: ${plainText(errorMessage(error), 300)}`,
      { cause: error },
    );
  } finally {
    await output.close();
  }
}

async function cannotRun(
  log: string,
  code: 'HOST_UNUSABLE' | 'HOST_UNAVAILABLE',
): Promise<StepError> {
  const text = await readFile(log, 'utf8').catch(() => '');
  const words = plainText(text.trimEnd().split('\n').slice(-3).join(' '), 600);
  return new StepError(
    code,
    `The process host of this machine cannot run: ${words === '' ? 'it said nothing.' : words}`,
    { hint: `Its log: ${log}` },
  );
}

async function keepLogShort(log: string): Promise<void> {
  const found = await stat(log).catch(() => null);
  if (found !== null && found.size > MOST_LOG_BYTES) await rename(log, `${log}.1`);
}
