/**
 * Programs of steps, as the process host of this machine runs them (design section 5). This adapter starts and
 * signals nothing itself: it asks the host, starts one where none runs, and asks again when the host was lost in
 * the middle. The program is then still there, and the next host has it.
 *
 * Invariants:
 * 1. When `run` throws because its signal was aborted, the program goes on. Who knows why it was aborted ends it.
 * 2. A start is asked for only after the host said that it has neither a program nor an end of it, and after
 *    `prepare`: so preparations never disturb a program that runs, or a result.
 */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canonicalJson } from '../../core/canonical-json.js';
import type {
  EndReason,
  HostCommand,
  HostCommandEnd,
  HostInfo,
  HostMethod,
  HostMethods,
  HostProgramSpec,
  ProgramEvent,
  ProgramFiles,
  ProgramLimits,
  ProgramListing,
  ProgramPlace,
  ProgramToken,
  ProgramWatch,
} from '../../core/host-protocol.js';
import type { Json } from '../../core/json.js';
import { stepFolderName } from '../../core/step-folder.js';
import { boundFile, readHeadAndTail } from '../../host/output-reader.js';
import { programFiles } from '../../host/program-files.js';
import { createHostConnection, isHostLost } from './host-connection.js';
import { toEndedProgram, type EndedProgram, type ProgramExit } from './program-end.js';
import { findOutputFile, readOutputsFile } from './program-output.js';
import type { JsonObject } from '../../core/json.js';

export type { EndedProgram, ProgramExit };

export interface ProgramSpec {
  /** A shell command, run by `/bin/sh -c`, or a program with its arguments. */
  readonly program: { readonly command: string } | { readonly argv: readonly string[] };
  /** Where it runs, and its HOME. Absent: an empty directory of its own. */
  readonly cwd?: string;
  /** Environment besides the standard one and what the host adds; part of what makes two specs equal. */
  readonly env?: { readonly [name: string]: string };
}

export interface RunOptions {
  readonly place: ProgramPlace;
  /** When the server scheduled the attempt that asks; the host refuses an older one with PROGRAM_TAKEN_OVER. */
  readonly token: ProgramToken;
  readonly limits: ProgramLimits;
  readonly watch?: ProgramWatch;
  /** Devices that the program needs; absent: none. */
  readonly gpus?: number;
  readonly signal: AbortSignal;
  /** Called before the program is started, and not when one is adopted or its result is taken. */
  readonly prepare?: () => Promise<void>;
  /** Called with what it waits for, and about once a second while it runs. */
  readonly onEvent?: (event: ProgramEvent) => void;
}

export interface Processes {
  /** Where the files of a start lie. */
  files(place: ProgramPlace): ProgramFiles;
  /**
   * Starts or adopts a program and follows it to its end, whatever its exit status. Throws PROGRAM_TIMEOUT,
   * ATTEMPT_TIMEOUT, PROGRAM_STALLED, PROGRAM_OUT_OF_MEMORY, PROGRAM_PAUSED, PROGRAM_KILLED, PROGRAM_LOST,
   * PROGRAM_TAKEN_OVER, PROGRAM_UNUSABLE (it could not be started), DEVICE_MISSING, DISK_LOW, DISK_FULL,
   * HOST_UNAVAILABLE, HOST_UNUSABLE; `signal.reason` when aborted, and the program then goes on.
   */
  run(spec: ProgramSpec, options: RunOptions): Promise<EndedProgram>;
  /** Ends every start of a step; returns when nothing of them is left, also when there was nothing. */
  endStep(
    request: HostMethods['end']['params'],
    options?: { readonly signal?: AbortSignal },
  ): Promise<void>;
  /** Ends the programs of a run, or of one of its steps; returns how many there were, when nothing of them is left. */
  endRun(runId: string, reason: EndReason, stepPath?: string): Promise<number>;
  /** The programs that live or wait on this machine. */
  list(): Promise<readonly ProgramListing[]>;
  info(): Promise<HostInfo>;
  /** Moves the time limit of a running program; returns when it now ends, null for never. */
  extend(request: HostMethods['extend']['params']): Promise<number | null>;
  /**
   * Runs a short command to its end, its whole tree ended when `signal` is aborted or this process dies. Throws
   * HOST_UNAVAILABLE when the host was lost in the middle: whether the command did its work is then not known.
   */
  command(command: HostCommand, signal?: AbortSignal): Promise<HostCommandEnd>;
  /** Ends the host. Throws HOST_BUSY while a program is alive, unless `leavePrograms`: they then go on. */
  shutdownHost(options: { readonly leavePrograms: boolean }): Promise<void>;
  /** The environment that every program gets, for one that runs in `cwd`. */
  standardEnvironment(cwd: string): { [name: string]: string };
  /** Output of a program, at most `maxBytes` of it: head and tail. */
  readOutput(ended: EndedProgram, maxBytes: number): Promise<string>;
  /** A file with the program's output, bounded to 64 MiB by leaving out its middle. */
  boundedLog(ended: EndedProgram): Promise<string>;
  /** A file that the program left in `files.outputDir`. Throws OUTPUT_MISSING when it is not there, empty or elsewhere. */
  outputFile(files: ProgramFiles, file: string): Promise<{ file: string; sizeBytes: number }>;
  /** The text of `outputs.json`; null when the program wrote none. Throws OUTPUT_MISSING when it is too large. */
  readOutputs(files: ProgramFiles, maxBytes: number): Promise<string | null>;
  /**
   * The checkpoint directory of a step, made where missing. It belongs to all starts of the step, and to
   * all runs of the round in which `inputs` are equal.
   */
  checkpointDirectory(request: {
    readonly roundId: string;
    readonly stepPath: string;
    readonly inputs: Json;
  }): Promise<string>;
  /** Closes the connection to the host for good; programs go on. Whoever asks afterwards gets HOST_UNAVAILABLE. */
  close(): void;
}

export interface ProcessesOptions {
  readonly stateDir: string;
  /** The Temporal server that knows the runs; null where none does. */
  readonly server: HostProgramSpec['server'];
  /**
   * Called again and again while no host answers: sees to it that one is being started. Throws a StepError when that
   * is in vain. Null: none is started, and a call throws HOST_UNAVAILABLE.
   */
  readonly startHost: (() => Promise<void>) | null;
  /** Takes known secrets out of what programs print, before it becomes an error or a status. Absent: as it is. */
  readonly mask?: (text: string) => string;
}

/** Where a step's program is looked for, whatever the worker's own PATH: the same on every host. */
export const STANDARD_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const MOST_LOG_BYTES = 64 * 1024 * 1024;
/** How long hosts may be lost one after another, without a word about the program. */
const LONGEST_LOSS_MS = 30_000;
const AFTER_LOSS_MS = 100;

export function createProcesses({
  stateDir,
  server,
  startHost,
  mask = (text) => text,
}: ProcessesOptions): Processes {
  const state = path.resolve(stateDir);
  const connection = createHostConnection({ stateDir: state, startHost });

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

  /** For methods that may be asked twice: when the host is lost in the middle, the next one is asked. */
  async function ask<M extends HostMethod>(
    method: M,
    params: HostMethods[M]['params'],
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<HostMethods[M]['result']> {
    const losses = countLosses();
    for (;;) {
      const client = await connection.client(options.signal);
      try {
        return await client.call(method, params, options);
      } catch (error) {
        await losses.bear(error, options.signal);
      }
    }
  }

  async function follow(
    params: Omit<HostMethods['run']['params'], 'mayStart'>,
    { signal, onEvent, prepare }: RunOptions,
  ): Promise<Exclude<HostMethods['run']['result'], { absent: true }>> {
    const losses = countLosses();
    // Without preparations one question is enough: what is there is adopted all the same.
    const mayStartAtOnce = prepare === undefined;
    let mayStart = mayStartAtOnce;
    for (;;) {
      const client = await connection.client(signal);
      try {
        const reply = await client.call(
          'run',
          { ...params, mayStart },
          {
            signal,
            onEvent: (event) => {
              losses.forget();
              onEvent?.(maskEvent(event, mask));
            },
          },
        );
        if (!('absent' in reply)) return reply;
      } catch (error) {
        await losses.bear(error, signal);
        // What had been asked for may have been done: whoever answers now is asked what there is.
        mayStart = mayStartAtOnce;
        continue;
      }
      await prepare?.();
      signal.throwIfAborted();
      mayStart = true;
    }
  }

  return {
    files: (place) => programFiles(state, place),
    standardEnvironment,

    async run(spec, options) {
      options.signal.throwIfAborted();
      const { runId, stepPath, start } = options.place;
      const place = { runId, stepPath, start };
      const files = programFiles(state, place);
      const argv =
        'command' in spec.program ? ['/bin/sh', '-c', spec.program.command] : spec.program.argv;
      const standard = standardEnvironment(spec.cwd ?? files.workDir);
      const { end, adopted } = await follow(
        {
          place,
          token: options.token,
          spec: {
            argv,
            ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
            env: { ...standard, ...spec.env },
            // A new build may spell it otherwise; that makes a start no other program.
            volatileEnv: Object.keys(standard).filter(
              (name) => !Object.hasOwn(spec.env ?? {}, name),
            ),
            server,
            limits: options.limits,
            ...(options.watch === undefined ? {} : { watch: options.watch }),
            ...(options.gpus === undefined ? {} : { gpus: options.gpus }),
          },
        },
        options,
      );
      return toEndedProgram(end, { files, adopted, options, mask });
    },

    async endStep(request, options = {}) {
      await ask('end', request, options);
    },
    async endRun(runId, reason, stepPath) {
      const params = { runId, reason, ...(stepPath === undefined ? {} : { stepPath }) };
      return (await ask('endRun', params)).ended;
    },
    list: async () =>
      (await ask('list', {})).programs.map((program) => ({
        ...program,
        status: maskStatus(program.status, mask),
      })),
    info: () => ask('info', {}),

    async extend(request) {
      const client = await connection.client();
      return (await client.call('extend', request)).endsAtMs;
    },
    async command(command, signal) {
      const client = await connection.client(signal);
      return client.call('command', command, signal === undefined ? {} : { signal });
    },
    async shutdownHost({ leavePrograms }) {
      const client = await connection.client();
      try {
        await client.call('shutdown', { leavePrograms });
      } catch (error) {
        // It may be gone before its answer is through.
        if (!isHostLost(error)) throw error;
      } finally {
        connection.drop();
      }
    },

    readOutput: (ended, maxBytes) => readHeadAndTail(ended.files.log, maxBytes),
    boundedLog: (ended) => boundFile(ended.files.log, MOST_LOG_BYTES),
    outputFile: findOutputFile,
    readOutputs: readOutputsFile,

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
      // Not through the thread pool, whose turns cost more than the call: every program step comes by here.
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      return directory;
    },

    close: () => connection.close(),
  };

  /** Bears the loss of a host, for a while: then it throws, as for every other error. */
  function countLosses(): {
    bear(error: unknown, signal: AbortSignal | undefined): Promise<void>;
    forget(): void;
  } {
    let sinceMs: number | null = null;
    return {
      async bear(error, signal) {
        signal?.throwIfAborted();
        if (!isHostLost(error) || startHost === null) throw error;
        sinceMs ??= Date.now();
        if (Date.now() - sinceMs > LONGEST_LOSS_MS) throw error;
        await sleep(AFTER_LOSS_MS);
      },
      forget() {
        sinceMs = null;
      },
    };
  }
}

function maskEvent(event: ProgramEvent, mask: (text: string) => string): ProgramEvent {
  return event.kind === 'running' ? { ...event, status: maskStatus(event.status, mask) } : event;
}

function maskStatus(status: JsonObject, mask: (text: string) => string): JsonObject {
  return Object.fromEntries(
    Object.entries(status).map(([name, value]) => [
      name,
      typeof value === 'string' ? mask(value) : value,
    ]),
  );
}
