/**
 * What a worker and the process host of its machine say to each other (design section 5): JSON objects, one a
 * line, over a unix socket. A request has an `id`; its events carry it, and its one reply ends it.
 *
 *   client: { adit: 1, secret }                       server: { adit: 1, host: HostInfo } | { error }
 *   client: { id, method, params }                    server: { id, event }…  { id, result } | { id, error }
 *   client: { id, drop: true }                        the request is dropped as if its connection had broken; no reply
 *
 * Invariants:
 * 1. `run` starts or adopts, and follows to the end. A connection that breaks ends the following and a wait for
 *    a device, never a program.
 * 2. Of one step the host obeys the newest token only; an older one gets PROGRAM_TAKEN_OVER and changes nothing.
 * 3. A reply that a program has ended means that nothing of its tree is left on this machine.
 */
import type { Expr } from './expression.js';
import type { Json } from './json.js';

/** Version of the messages. A host refuses a client that speaks a newer one, and serves older ones. */
export const HOST_PROTOCOL_VERSION = 1;

/** Version of the files in a run directory; older ones are read. */
export const PROGRAM_RECORD_VERSION = 2;

/** Which program of which step: one start, as numbered by the interpreter. */
export interface ProgramPlace {
  readonly runId: string;
  readonly stepPath: string;
  /** From 1. */
  readonly start: number;
}

/**
 * When the server scheduled the attempt that asks, in milliseconds since the epoch. It only grows, also across a reset,
 * so it fences a stale worker.
 */
export type ProgramToken = number;

/** What to run, and what to watch while it runs. */
export interface HostProgramSpec {
  readonly argv: readonly string[];
  /** Absent: the empty `work` directory of the start. */
  readonly cwd?: string;
  /** The whole environment but for what the host adds: ADIT_DEADLINE, CUDA_VISIBLE_DEVICES (and CUDA_DEVICE_ORDER), ADIT_PROCESS_ID. Never stored. */
  readonly env: { readonly [name: string]: string };
  /** Names of `env` that may differ between attempts of one start, and so do not make it another program. */
  readonly volatileEnv?: readonly string[];
  /** The Temporal server that knows the run: only a worker of that very server may say that the run is closed. */
  readonly server: { readonly address: string; readonly namespace: string } | null;
  readonly limits: ProgramLimits;
  readonly watch?: ProgramWatch;
  /** Devices to lease; absent: none. */
  readonly gpus?: number;
}

export interface ProgramLimits {
  /** Run time over all starts of the step; null: none. */
  readonly stepMs: number | null;
  /** Run time of this start; absent: only `stepMs`. */
  readonly startMs?: number;
  /** A moment by which it must have ended, in milliseconds since the epoch. */
  readonly deadlineMs?: number;
  /** Sent this long before `deadlineMs` and before the limits, so that the program can write a checkpoint. */
  readonly warning?: { readonly signal: string; readonly beforeMs: number };
  /** From TERM to KILL. */
  readonly graceMs: number;
  /** Least free space of the state folder's disk for a start. */
  readonly minFreeBytes: number;
  /** Of more output than this only head and tail are kept. */
  readonly outputBytes: number;
}

/** What ends a program besides its limits. */
export interface ProgramWatch {
  /** Metric name to the text around its number in the output, as core/training-progress.ts reads it. */
  readonly patterns?: { readonly [name: string]: string };
  /** True ends the program well; `metrics` is its scope. It must hold at `patience` looks with new metrics in a row. */
  readonly stopWhen?: { readonly expr: Expr; readonly patience: number };
  /** No new output and no new metric for this long: a warning; for twice as long: the program is ended. */
  readonly stalledAfterMs?: number;
}

/**
 * Why a program is no more.
 * - `exited`, `signalled`: by itself. `outOfMemory`: the kernel killed it for want of memory.
 * - `limit`, `startLimit`, `deadline`, `stalled`, `rule`: the host ended it, by `ProgramLimits` and `ProgramWatch`.
 * - `requested`: somebody asked; `reason` says who and why.
 * - `lost`: it is gone and nothing says how.
 */
export type ProgramCause =
  | 'exited'
  | 'signalled'
  | 'outOfMemory'
  | 'limit'
  | 'startLimit'
  | 'deadline'
  | 'stalled'
  | 'rule'
  | 'requested'
  | 'lost';

/** Why somebody asked for the end of a program. */
export type EndReason =
  'cancelled' | 'paused' | 'killed' | 'runClosed' | 'runUnknown' | 'superseded' | 'confirm';

export interface ProgramEnd {
  readonly cause: ProgramCause;
  /** Present when the program itself ended, by its own choice or after a TERM. */
  readonly code?: number;
  /** Name of the signal that ended it, as far as the shell tells. */
  readonly signal?: string;
  readonly reason?: EndReason;
  /** Milliseconds since the epoch. */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** The last value of each number that the program reported. */
  readonly metrics: { readonly [name: string]: number };
}

/** The files of a start: absolute paths. */
export interface ProgramFiles {
  readonly root: string;
  readonly log: string;
  readonly metricsFile: string;
  readonly outputsFile: string;
  readonly outputDir: string;
  readonly workDir: string;
}

export type ProgramEvent =
  /** Not started yet, and what it waits for, for people: `device 0 (run r, step s)`. */
  | { readonly kind: 'waiting'; readonly reason: string }
  | {
      readonly kind: 'running';
      readonly startedAtMs: number;
      /** Run time over all starts so far. */
      readonly ranMs: number;
      /** When the host will end it; null: no limit. */
      readonly endsAtMs: number | null;
      readonly devices: readonly string[];
      /** As core/training-progress.ts tells it. */
      readonly status: { readonly [name: string]: Json };
      /** No sign of life for `stalledAfterMs`. */
      readonly warning?: string;
    };

/** One line of `list`. */
export interface ProgramListing extends ProgramPlace {
  readonly state: 'waiting' | 'running' | 'ending';
  readonly files: ProgramFiles;
  readonly server: HostProgramSpec['server'];
  /** Null while it waits. */
  readonly startedAtMs: number | null;
  readonly endsAtMs: number | null;
  readonly pid: number | null;
  readonly devices: readonly string[];
  readonly waitingFor?: string;
  readonly status: { readonly [name: string]: Json };
}

export interface HostInfo {
  readonly hostId: string;
  readonly pid: number;
  /** Where `pid` counts, as /proc/self/ns/pid names it; absent: an earlier host, or it could not be seen. */
  readonly pidNamespace?: string;
  readonly build: string;
  readonly protocol: number;
  readonly startedAtMs: number;
  /** What the end of a tree can be promised by: design section 5. */
  readonly containment: 'cgroup' | 'pidNamespace' | 'processGroup';
  /** The same for people, one sentence. */
  readonly promise: string;
  readonly devices: readonly HostDevice[];
}

export interface HostDevice {
  /** As CUDA_VISIBLE_DEVICES takes it. */
  readonly id: string;
  readonly state: 'free' | 'leased' | 'foreign';
  /** Who has it, for people; absent when it is free. */
  readonly holder?: string;
}

/** A short command that belongs to the connection: when that breaks, its whole tree is ended. */
export interface HostCommand {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: { readonly [name: string]: string };
  /** File that is its stdin; absent: /dev/null. */
  readonly stdinFile?: string;
  /** Files that its output goes to, made by the caller. */
  readonly stdoutFile: string;
  readonly stderrFile: string;
  readonly timeoutMs: number;
  /** More output than this ends it. */
  readonly outputBytes: number;
}

export interface HostCommandEnd {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly timedOut: boolean;
  readonly tooMuchOutput: boolean;
  /** `ENOENT` and the like when it could not be started. */
  readonly spawnError?: string;
}

/** Method to its parameters and its result. */
export interface HostMethods {
  /** Starts or adopts the program of a place, and follows it to its end; events are `ProgramEvent`s. */
  run: {
    params: {
      readonly place: ProgramPlace;
      readonly token: ProgramToken;
      readonly spec: HostProgramSpec;
      /**
       * False: only adopt. The reply is then `{ absent: true }` where this start has neither a program nor an end; the
       * caller prepares what a start needs and asks again.
       */
      readonly mayStart: boolean;
    };
    result: { readonly end: ProgramEnd; readonly adopted: boolean } | { readonly absent: true };
  };
  /** Ends every start of a step and replies when nothing of them is left; no error when there is none. */
  end: {
    params: {
      readonly runId: string;
      readonly stepPath: string;
      readonly token: ProgramToken;
      readonly reason: EndReason;
    };
    result: { readonly ended: number };
  };
  /** Ends every program of a run. For people and for a worker that knows the run to be closed. */
  endRun: {
    params: { readonly runId: string; readonly stepPath?: string; readonly reason: EndReason };
    result: { readonly ended: number };
  };
  /** Moves the limit of a running program; the new one is kept for its later starts. */
  extend: {
    params: { readonly runId: string; readonly stepPath: string; readonly byMs: number };
    result: { readonly endsAtMs: number | null };
  };
  list: { params: object; result: { readonly programs: readonly ProgramListing[] } };
  info: { params: object; result: HostInfo };
  command: { params: HostCommand; result: HostCommandEnd };
  /** Ends the host; refused with HOST_BUSY while a program is alive, unless `leavePrograms`. Programs go on. */
  shutdown: { params: { readonly leavePrograms: boolean }; result: object };
}

export type HostMethod = keyof HostMethods;
