/** Begins a start: everything between the decision that there is to be one and a program that runs. */
import { StepError } from '../core/error.js';
import type {
  ProgramEnd,
  ProgramFiles,
  ProgramPlace,
  ProgramToken,
} from '../core/host-protocol.js';
import type { DeviceLease } from './device-queue.js';
import { requireFreeSpace } from './disk.js';
import { ranBefore, readClock, type ProgramClock } from './program-clock.js';
import { writeIndex } from './program-index.js';
import { readExtension, type SpecRecord } from './program-records.js';
import { startShim, type Shim, type ShimContext } from './shim-process.js';
import type { SpareShim } from './spare-shim.js';
import { toStartError } from './start-error.js';
import {
  prepareFolder,
  requireRunnable,
  startProgram,
  type StartedProgram,
} from './start-program.js';

export interface BeginContext {
  readonly stateDir: string;
  readonly shims: ShimContext;
  readonly spareShim: SpareShim;
  /** True when the host stops: nothing is started any more. */
  readonly isClosing: () => boolean;
}

export interface BeginRequest {
  readonly place: ProgramPlace;
  readonly files: ProgramFiles;
  /** Of all starts of the step. */
  readonly folder: string;
  readonly spec: SpecRecord;
  readonly env: { readonly [name: string]: string };
  readonly token: ProgramToken;
  readonly devices: DeviceLease;
}

/** The end of a start whose limit is used up before it begins; null when there is time left. */
export function limitUsedUp(folder: string, start: number, spec: SpecRecord): ProgramEnd | null {
  const nowMs = Date.now();
  const { endsAtMs, cause } = clockFrom(nowMs, folder, start, spec);
  if (endsAtMs === null || endsAtMs > nowMs) return null;
  return { cause, startedAtMs: nowMs, endedAtMs: nowMs, metrics: {} };
}

function clockFrom(
  startedAtMs: number,
  folder: string,
  start: number,
  { limits }: SpecRecord,
): ProgramClock {
  const ranBeforeMs = ranBefore(folder, start);
  return readClock(limits, { startedAtMs, ranBeforeMs, extendedMs: readExtension(folder) });
}

/**
 * Throws DISK_LOW and DISK_FULL, PROGRAM_UNUSABLE when it cannot be started, PROGRAM_LOST when it ended before it was
 * recorded. Nothing of it is alive then, nor in the index.
 */
export async function beginProgram(
  { stateDir, shims, spareShim, isClosing }: BeginContext,
  { place, files, folder, spec, env, token, devices }: BeginRequest,
): Promise<StartedProgram> {
  if (isClosing()) throw new StepError('HOST_UNAVAILABLE', 'The process host is stopping.');
  requireFreeSpace(stateDir, spec.limits.minFreeBytes);
  const { endsAtMs } = clockFrom(Date.now(), folder, place.start, spec);
  const environment = {
    ...env,
    ...(endsAtMs === null ? {} : { ADIT_DEADLINE: String(Math.floor(endsAtMs / 1_000)) }),
    // In another order an index would name another device than the one that is locked.
    ...(devices.ids.length === 0
      ? {}
      : { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: devices.ids.join(',') }),
  };
  let shim: Shim | null = null;
  try {
    shim =
      devices.locks.length === 0
        ? await spareShim.take()
        : await startShim(
            shims,
            devices.locks.map(({ fd }) => fd),
          );
    writeIndex(shims.index, { ...place, marker: shim.tree.marker });
    await prepareFolder(files, spec);
    requireRunnable(spec, environment);
    return startProgram(shim, { files, spec, env: environment, token, devices: devices.ids });
  } catch (error) {
    // Removes it from the index, too. Only when it is gone may another be started.
    await shim?.discard();
    throw toStartError(error);
  }
}
