import type { ErrorReport } from './error.js';
import type { Json } from './json.js';
import type { ApprovalState } from './open-approval.js';

export type StepStatus =
  'pending' | 'running' | 'parked' | 'succeeded' | 'failed' | 'stopped' | 'skipped' | 'cancelled';

export type RunStatus = 'running' | 'succeeded' | 'failed' | 'stopped' | 'cancelled';

/** What is known of one step. Times are ISO 8601, UTC. */
export interface StepState {
  readonly status: StepStatus;
  /** Name of the step type; a block's kind (`foreach`, `try`, `wait`, …) for a block, `item` for one turn of it. */
  readonly uses: string;
  /**
   * Number of the newest start, from 1; a worker that was lost does not add to it. A step that is running and has an
   * error is between two starts: the newest one has ended with that error.
   */
  readonly attempts: number;
  /** How many of those starts count as no try: they ended with a `restart` code, or before a person's last decision. */
  readonly uncounted?: number;
  /** Starts since the last decision that were lost. */
  readonly restarts?: number;
  /**
   * By how much the step's timeout was moved, in milliseconds: the time for which it was parked, or, for run time of a
   * program that was spent, what a person's retry gave it anew.
   */
  readonly movedMs?: number;
  /** Since when the step has been parked, and until when it asks, if there is an end to it; ISO 8601, UTC. */
  readonly parkedAt?: string;
  readonly askUntil?: string;
  /** What broke off a block of many parts, until they have all ended: nothing in it starts any more. */
  readonly broken?: {
    readonly ends: 'failed' | 'stopped' | 'cancelled';
    readonly error?: ErrorReport;
  };
  /** What is left of the block, or was, runs as a part of the run, whose own state tells of its steps. */
  readonly part?: true;
  /** When a step between two starts begins the next one, ISO 8601, UTC; absent: at once. */
  readonly againAt?: string;
  /** When the pause of a `wait` is over, ISO 8601, UTC: what was settled when it began. */
  readonly waitsUntil?: string;
  /** When the `finally` of a `try` with a limit for it began, ISO 8601, UTC. */
  readonly finallyAt?: string;
  /** Of an `approve` step: who has approved what. It stays when the step has ended. */
  readonly approval?: ApprovalState;
  readonly startedAt?: string;
  readonly endedAt?: string;
  readonly outputs?: { readonly [name: string]: Json };
  readonly error?: ErrorReport;
  /** What it waits for, for people: `cancelling, waits for host X`, or until when a parked step waits. */
  readonly note?: string;
}

/**
 * A run as a value: the state of every step by its path (`candidates#0/trained`), in the order in
 * which steps began. Plain JSON, and the interpreter's only memory: it can start from any RunState.
 */
export interface RunState {
  readonly steps: { readonly [path: string]: StepState };
  /** Decisions that were counted, by id: an id that comes again, also after continue-as-new, counts no second time. */
  readonly decisions?: {
    readonly [id: string]: { readonly step: string; readonly action: string };
  };
}

/** Largest outputs of one step and largest RunState, as JSON text, in bytes. */
export const MAX_OUTPUT_BYTES = 64 * 1024;
export const MAX_STATE_BYTES = 1024 * 1024;

/** What `finally` steps may add to a state that is full: a claim must be given back also then. */
export const FINALLY_RESERVE_BYTES = 128 * 1024;

/**
 * Largest input of one step and largest outputs of a run, likewise. A server takes 2 MiB for one value; beyond
 * that it terminates the run without its `finally`, and from 4 MiB on the run hangs.
 */
export const MAX_INPUT_BYTES = 1024 * 1024;
export const MAX_RUN_OUTPUT_BYTES = 256 * 1024;

/** How a run ended, or how it stands. */
export interface RunResult {
  readonly status: RunStatus;
  readonly outputs: { readonly [name: string]: Json };
  readonly error?: ErrorReport;
}
