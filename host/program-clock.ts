/** When a program must end, and when it is warned: arithmetic over its limits and records. */
import path from 'node:path';
import type { ProgramCause, ProgramLimits } from '../core/host-protocol.js';
import { lookAtFile } from './look-at-file.js';
import { startsOf } from './program-files.js';
import {
  decidedAt,
  readEnding,
  readEndTime,
  readOwner,
  type OwnerRecord,
} from './program-records.js';

export interface ProgramClock {
  /** Null: no limit. */
  readonly endsAtMs: number | null;
  /** Which limit that is. */
  readonly cause: Extract<ProgramCause, 'limit' | 'startLimit' | 'deadline'>;
  /** Null: no warning. */
  readonly warnsAtMs: number | null;
}

/** The nearest of the limits; an extension moves the run time, not the deadline, which is the run's. */
export function readClock(
  limits: ProgramLimits,
  times: {
    readonly startedAtMs: number;
    readonly ranBeforeMs: number;
    readonly extendedMs: number;
  },
): ProgramClock {
  const { startedAtMs, ranBeforeMs, extendedMs } = times;
  const ends = [
    limits.stepMs === null
      ? null
      : { cause: 'limit' as const, atMs: startedAtMs + limits.stepMs + extendedMs - ranBeforeMs },
    limits.startMs === undefined
      ? null
      : { cause: 'startLimit' as const, atMs: startedAtMs + limits.startMs + extendedMs },
    limits.deadlineMs === undefined
      ? null
      : { cause: 'deadline' as const, atMs: limits.deadlineMs },
  ].filter((end) => end !== null);
  const nearest = ends.sort((a, b) => a.atMs - b.atMs)[0];
  if (nearest === undefined) return { endsAtMs: null, cause: 'limit', warnsAtMs: null };
  const beforeMs = limits.warning?.beforeMs;
  return {
    endsAtMs: nearest.atMs,
    cause: nearest.cause,
    warnsAtMs: beforeMs === undefined ? null : nearest.atMs - beforeMs,
  };
}

/** Run time of a step's starts but one, from their records. */
export function ranBefore(folder: string, exceptStart: number): number {
  let sumMs = 0;
  for (const start of startsOf(folder)) {
    if (start === exceptStart) continue;
    const root = path.join(folder, String(start));
    const owner = readOwner(root);
    if (owner !== null) sumMs += Math.max(0, endOf(root, owner) - owner.startedAtMs);
  }
  return sumMs;
}

function endOf(root: string, owner: OwnerRecord): number {
  const ending = readEnding(root, owner.marker);
  const lastSeenMs = (): number => lastSignOfLife(root) ?? owner.startedAtMs;
  return readEndTime(root, ending) ?? Math.max(lastSeenMs(), decidedAt(ending));
}

/** When a host last saw the program alive: it touches the owner record. Null when there is none. */
export function lastSignOfLife(root: string): number | null {
  return lookAtFile(path.join(root, 'owner.json'))?.mtimeMs ?? null;
}
