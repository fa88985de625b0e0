/**
 * Runs programs that may outlive this worker.
 *
 * A program writes its output to a file and leads a process group of its own; a few lines of shell beside
 * it, the shim, record how it ended. So a worker that dies takes nothing with it, and the next attempt
 * finds in the run directory (run-directory.ts) what happened.
 *
 *   nothing there ──► start ──► running ──► ended            the result, also for a later attempt
 *                       ▲          ├──► ended by us           cancel, time, an attempt that took over
 *                       │          └──► lost                  no exit recorded and nobody alive
 *                       └── a new attempt, or a new start, that finds it running ends it first
 *
 * Invariants:
 * 1. Of one step there is never more than one program alive, over all its starts.
 * 2. Nothing of a program runs before its owner is on the disk: the shim waits for the word on a pipe,
 *    and ends when the worker dies before giving it.
 * 3. When `run` returns or throws, nothing of the program is left, except on worker shutdown.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { lstat, mkdir, realpath } from 'node:fs/promises';
import { constants } from 'node:os';
import path from 'node:path';
import { canonicalJson } from '../../core/canonical-json.js';
import { errorMessage, StepError } from '../../core/error.js';
import type { Json } from '../../core/json.js';
import { plainText } from '../../core/plain-text.js';
import { stepFolderName } from '../../core/step-folder.js';
import { boundFile, followFile, readHeadAndTail, readTail } from './output-reader.js';
import { endProgram, identify, isAlive, PROCESS_MARKER } from './process-table.js';
import {
  describeSpec,
  isSameSpec,
  otherStarts,
  prepareRunDirectory,
  readExit,
  readOwner,
  readSpec,
  runDirectory,
  writeEnding,
  writeOwner,
  type OwnerRecord,
  type ProcessPlace,
  type RunDirectory,
} from './run-directory.js';
import { SHIM } from './shim.js';

export type { ProcessPlace };

export interface ProgramSpec {
  /** A shell command, run by `/bin/sh -c`, or a program with its arguments. */
  readonly program: { readonly command: string } | { readonly argv: readonly string[] };
  /** Where it runs, and its HOME. Absent: an empty directory of its own. */
  readonly cwd?: string;
  /** Environment besides the standard one; part of what makes two specs equal. */
  readonly env?: { readonly [name: string]: string };
  /** Environment that may differ between attempts, such as a deadline. */
  readonly volatileEnv?: { readonly [name: string]: string };
}

export interface RunOptions {
  readonly place: ProcessPlace;
  /** When the program must have ended, in milliseconds since the epoch; null: no limit. */
  readonly deadlineMs: number | null;
  readonly signal: AbortSignal;
  /** True when an abort means that this worker goes away: the program is then left running. */
  readonly isShutdown: () => boolean;
  /** How long a program may take to end after TERM. */
  readonly graceMs?: number;
  /** Called before the program starts, and not when an earlier attempt's result is taken. */
  readonly prepare?: () => Promise<void>;
  /** Called with new text of the output or of `metricsFile`, and with empty text at each look. */
  readonly onText?: (source: 'output' | 'metrics', text: string) => void;
}

/** How a program ended. The shell tells a signal as 128 + its number, so a program that exits so looks signalled. */
export type ProgramEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string };

export interface EndedProgram {
  readonly end: ProgramEnd;
  readonly directory: RunDirectory;
  /** The last few KiB of its output, as it wrote them. */
  readonly tail: string;
  /** True when the program ran for an earlier attempt and only its result was taken. */
  readonly adopted: boolean;
}

export interface Processes {
  /** Where the files of a start lie. */
  directory(place: ProcessPlace): RunDirectory;
  /**
   * Runs a program to its end, whatever its exit status. Throws PROGRAM_TIMEOUT, PROGRAM_LOST,
   * PROGRAM_UNUSABLE (it could not be started), DISK_FULL; `signal.reason` when aborted.
   */
  run(spec: ProgramSpec, options: RunOptions): Promise<EndedProgram>;
  /** The environment that every program gets, for one that runs in `cwd`. */
  standardEnvironment(cwd: string): { [name: string]: string };
  /** Output of a program, at most `maxBytes` of it: head and tail. */
  readOutput(ended: EndedProgram, maxBytes: number): Promise<string>;
  /** A file with the program's output, bounded to 64 MiB by leaving out its middle. */
  boundedLog(ended: EndedProgram): Promise<string>;
  /** A file that the program left in `directory.outputDir`. Throws OUTPUT_MISSING when it is not there, empty or elsewhere. */
  outputFile(directory: RunDirectory, file: string): Promise<{ file: string; sizeBytes: number }>;
  /** The text of `outputs.json`; null when the program wrote none. Throws OUTPUT_MISSING when it is too large. */
  readOutputs(directory: RunDirectory, maxBytes: number): Promise<string | null>;
  /**
   * The checkpoint directory of a step, made where missing. It belongs to all starts of the step, and to
   * all runs of the round in which `inputs` are equal.
   */
  checkpointDirectory(request: {
    readonly roundId: string;
    readonly stepPath: string;
    readonly inputs: Json;
  }): Promise<string>;
}

/** Where a step's program is looked for, whatever the worker's own PATH: the same on every host. */
export const STANDARD_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEFAULT_GRACE_MS = 10_000;
const LONGEST_POLL_MS = 250;
const TAIL_BYTES = 8 * 1024;
const MOST_LOG_BYTES = 64 * 1024 * 1024;

export function createProcesses({ stateDir }: { readonly stateDir: string }): Processes {
  const state = path.resolve(stateDir);

  const standardEnvironment = (cwd: string): { [name: string]: string } => ({
    PATH: STANDARD_PATH,
    HOME: cwd,
    LANG: 'C.UTF-8',
    LC_ALL: 'C.UTF-8',
    PYTHONNOUSERSITE: '1',
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    // A checkout is no repository; git must not take one further up for its own.
    GIT_CEILING_DIRECTORIES: path.dirname(cwd),
  });

  /** Ends a program of ours from outside. */
  async function end(
    directory: RunDirectory,
    owner: OwnerRecord,
    { cause, graceMs }: { cause: string; graceMs: number },
  ): Promise<void> {
    // What cannot be noted must not keep the program alive.
    await writeEnding(directory, owner, cause).catch(() => {});
    await endProgram(owner, owner.marker, graceMs);
  }

  /** Ends what an earlier attempt of this start, or an earlier start, left running. */
  async function endEarlier(
    directory: RunDirectory,
    place: ProcessPlace,
    graceMs: number,
  ): Promise<void> {
    for (const other of await otherStarts(directory)) {
      const owner = await readOwner(other.directory);
      if (owner === null) continue;
      const isNewer = other.start > place.start && owner.scheduledAtMs > place.scheduledAtMs;
      if (isNewer) throw hasNewerAttempt();
      if (other.start < place.start) await endProgram(owner, owner.marker, graceMs);
    }
    const owner = await readOwner(directory);
    if (owner !== null)
      await end(directory, owner, { cause: 'another attempt took over', graceMs });
  }

  async function start(
    argv: readonly string[],
    cwd: string,
    env: { readonly [name: string]: string },
    { directory, place }: { directory: RunDirectory; place: ProcessPlace },
  ): Promise<{ owner: OwnerRecord; child: ChildProcess }> {
    const marker = randomUUID();
    const log = openSync(directory.log, 'a', 0o600);
    const unusable = (error: unknown): StepError =>
      new StepError(
        'PROGRAM_UNUSABLE',
        `The program could not be started in ${cwd}: ${plainText(errorMessage(error), 300)}`,
        { cause: error },
      );
    let child: ChildProcess;
    try {
      child = spawn('/bin/sh', ['-c', SHIM, 'shim', directory.root, ...argv], {
        cwd,
        env: { ...env, [PROCESS_MARKER]: marker },
        detached: true,
        stdio: ['ignore', log, log, 'pipe'],
      });
    } catch (error) {
      // Thrown at once for what no system could run: a NUL character, or a command that is too long.
      throw unusable(error);
    } finally {
      closeSync(log);
    }
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(unusable(error)));
    });
    child.unref();
    const word = child.stdio[3];
    const identity = await identify(child.pid ?? 0);
    if (identity === null || word === undefined || word === null || !('write' in word)) {
      throw new StepError('PROGRAM_LOST', 'The program ended before it was recorded.');
    }
    const owner = { ...identity, marker, scheduledAtMs: place.scheduledAtMs };
    try {
      await writeOwner(directory, owner);
    } catch (error) {
      // Without the word the shim ends by itself.
      word.destroy();
      throw error;
    }
    word.on('error', () => {});
    word.end('go\n');
    return { owner, child };
  }

  async function follow(
    directory: RunDirectory,
    owner: OwnerRecord,
    options: RunOptions & { readonly child: ChildProcess },
  ): Promise<{ code: number }> {
    const { deadlineMs, signal, isShutdown, onText, child } = options;
    const graceMs = options.graceMs ?? DEFAULT_GRACE_MS;
    const output = followFile(directory.log);
    const metrics = followFile(directory.metricsFile);
    const report = async (): Promise<void> => {
      if (onText === undefined) return;
      onText('output', await output.readNew());
      onText('metrics', await metrics.readNew());
    };
    for (let pollMs = 20; ; pollMs = Math.min(pollMs * 1.5, LONGEST_POLL_MS)) {
      if (signal.aborted) {
        if (!isShutdown()) await end(directory, owner, { cause: 'cancelled', graceMs });
        throw signal.reason;
      }
      // Asked before the exit is read: a program that ends in between has its exit recorded.
      const alive = await isAlive(owner);
      const exit = await readExit(directory);
      if (exit !== null || !alive) {
        await report();
        // Also when it ended well: children that it left behind must not work on in the workspace.
        await endProgram(owner, owner.marker, Math.min(graceMs, 2_000));
        if (exit !== null) return exit;
        throw new StepError(
          'PROGRAM_LOST',
          'The program is gone and did not record how it ended.',
          {
            hint: 'It, or its shim, was killed, perhaps for want of memory. A new try starts from its checkpoint.',
          },
        );
      }
      if (deadlineMs !== null && Date.now() >= deadlineMs) {
        await end(directory, owner, { cause: 'time limit', graceMs });
        throw new StepError(
          'PROGRAM_TIMEOUT',
          'The program did not end within the time of its step, and was ended.',
          {
            hint: `Give the step a longer \`timeout\`. Its last output: ${plainText(await readTail(directory.log, 300))}`,
          },
        );
      }
      await report();
      const restMs = deadlineMs === null ? pollMs : Math.min(pollMs, deadlineMs - Date.now());
      await waitForChange(Math.max(restMs, 1), signal, child);
    }
  }

  return {
    directory: (place) => runDirectory(state, place),
    standardEnvironment,

    async run(spec, options) {
      options.signal.throwIfAborted();
      const directory = runDirectory(state, options.place);
      const graceMs = options.graceMs ?? DEFAULT_GRACE_MS;
      const cwd = spec.cwd ?? directory.workDir;
      const argv =
        'command' in spec.program ? ['/bin/sh', '-c', spec.program.command] : spec.program.argv;
      const env = { ...standardEnvironment(cwd), ...spec.env };
      const described = describeSpec({ argv, cwd, env });

      const earlierOwner = await readOwner(directory);
      if (earlierOwner !== null && earlierOwner.scheduledAtMs > options.place.scheduledAtMs) {
        throw hasNewerAttempt();
      }
      const earlierSpec = await readSpec(directory);
      const earlierExit = await readExit(directory);
      if (earlierExit !== null && earlierSpec !== null && isSameSpec(earlierSpec, described)) {
        if (earlierOwner !== null) await endProgram(earlierOwner, earlierOwner.marker, graceMs);
        options.onText?.('output', await readTail(directory.log, 4 * 1024 * 1024));
        options.onText?.('metrics', await readTail(directory.metricsFile, 4 * 1024 * 1024));
        return finish(directory, earlierExit.code, true);
      }

      await endEarlier(directory, options.place, graceMs);
      try {
        await prepareRunDirectory(directory, described);
        await options.prepare?.();
        options.signal.throwIfAborted();
        const { owner, child } = await start(
          argv,
          cwd,
          { ...env, ...spec.volatileEnv },
          { directory, place: options.place },
        );
        const exit = await follow(directory, owner, { ...options, child });
        return await finish(directory, exit.code, false);
      } catch (error) {
        throw toDiskError(error);
      }
    },

    readOutput: (ended, maxBytes) => readHeadAndTail(ended.directory.log, maxBytes),
    boundedLog: (ended) => boundFile(ended.directory.log, MOST_LOG_BYTES),

    async outputFile(directory, file) {
      const missing = (why: string): StepError =>
        new StepError('OUTPUT_MISSING', `The program's output file ${file} ${why}.`, {
          hint: `It must be a regular file in $ADIT_OUTPUT_DIR (${directory.outputDir}).`,
        });
      // The program may have removed the directory itself: then the file does not exist either.
      const root = await realpath(directory.outputDir).catch(() => directory.outputDir);
      const found = await realpath(path.resolve(root, file)).catch(() => null);
      if (found === null) throw missing('does not exist');
      if (!found.startsWith(`${root}${path.sep}`))
        throw missing('leads out of the output directory');
      const stat = await lstat(found);
      if (!stat.isFile()) throw missing('is no regular file');
      if (stat.size === 0) throw missing('is empty');
      return { file: found, sizeBytes: stat.size };
    },

    async readOutputs(directory, maxBytes) {
      const found = await lstat(directory.outputsFile).catch(() => null);
      if (found === null) return null;
      if (!found.isFile() || found.size > maxBytes) {
        throw new StepError(
          'OUTPUT_MISSING',
          `$ADIT_OUTPUTS_FILE is no regular file of at most ${maxBytes} bytes.`,
        );
      }
      return readHeadAndTail(directory.outputsFile, maxBytes);
    },

    async checkpointDirectory({ roundId, stepPath, inputs }) {
      const digest = createHash('sha256').update(canonicalJson(inputs)).digest('hex').slice(0, 32);
      const directory = path.join(
        state,
        'runs',
        stepFolderName(roundId),
        'checkpoints',
        stepFolderName(stepPath),
        digest,
      );
      await mkdir(directory, { recursive: true, mode: 0o700 });
      return directory;
    },
  };
}

function hasNewerAttempt(): StepError {
  return new StepError('PROGRAM_LOST', 'A newer attempt of this step has the program.');
}

async function finish(
  directory: RunDirectory,
  code: number,
  adopted: boolean,
): Promise<EndedProgram> {
  return { end: toEnd(code), directory, tail: await readTail(directory.log, TAIL_BYTES), adopted };
}

function toEnd(code: number): ProgramEnd {
  const signal = Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
  return signal === undefined ? { kind: 'exited', code } : { kind: 'signalled', signal };
}

/** Waits for the time, an abort or the end of the shim, whichever comes first. */
function waitForChange(ms: number, signal: AbortSignal, child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      child.removeListener('exit', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    child.once('exit', done);
  });
}

function toDiskError(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new StepError('DISK_FULL', 'No space left for the record of a program.', { cause: error });
}
