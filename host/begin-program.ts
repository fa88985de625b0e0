/** Begins a start: everything between the decision that there is to be one and a program that runs. */
import { randomUUID } from 'node:crypto';
import { StepError } from '../core/error.js';
import type {
  ProgramEnd,
  ProgramFiles,
  ProgramPlace,
  ProgramToken,
} from '../core/host-protocol.js';
import type { Containment } from './containment.js';
import type { DeviceLease } from './device-queue.js';
import { requireFreeSpace } from './disk.js';
import { ranBefore, readClock, type ProgramClock } from './program-clock.js';
import {
  lockFileOf,
  readExtension,
  removeIndex,
  writeIndex,
  type SpecRecord,
} from './program-records.js';
import { toStartError } from './start-error.js';
import { prepareFolder, startProgram, type StartedProgram } from './start-program.js';

export interface BeginContext {
  readonly stateDir: string;
  /** Folder of the index of live starts. */
  readonly index: string;
  readonly containment: Containment;
  /** Path of flock(1). */
  readonly flock: string;
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
export async function limitUsedUp(
  folder: string,
  start: number,
  spec: SpecRecord,
): Promise<ProgramEnd | null> {
  const nowMs = Date.now();
  const { endsAtMs, cause } = await clockFrom(nowMs, folder, start, spec);
  if (endsAtMs === null || endsAtMs > nowMs) return null;
  return { cause, startedAtMs: nowMs, endedAtMs: nowMs, metrics: {} };
}

async function clockFrom(
  startedAtMs: number,
  folder: string,
  start: number,
  { limits }: SpecRecord,
): Promise<ProgramClock> {
  const ranBeforeMs = await ranBefore(folder, start);
  return readClock(limits, { startedAtMs, ranBeforeMs, extendedMs: readExtension(folder) });
}

/**
 * Throws DISK_LOW and DISK_FULL, PROGRAM_UNUSABLE when it cannot be started, PROGRAM_LOST when it ended before it was
 * recorded. Nothing of it is alive then, nor in the index.
 */
export async function beginProgram(
  { stateDir, index, containment, flock, isClosing }: BeginContext,
  { place, files, folder, spec, env, token, devices }: BeginRequest,
): Promise<StartedProgram> {
  if (isClosing()) throw new StepError('HOST_UNAVAILABLE', 'The process host is stopping.');
  await requireFreeSpace(stateDir, spec.limits.minFreeBytes);
  const { endsAtMs } = await clockFrom(Date.now(), folder, place.start, spec);
  const marker = randomUUID();
  try {
    writeIndex(index, { ...place, marker });
    await prepareFolder(files, spec);
    return await startProgram({
      files,
      spec,
      marker,
      token,
      containment,
      flock,
      devices,
      env: {
        ...env,
        ...(endsAtMs === null ? {} : { ADIT_DEADLINE: String(Math.floor(endsAtMs / 1_000)) }),
        // In another order an index would name another device than the one that is locked.
        ...(devices.ids.length === 0
          ? {}
          : { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: devices.ids.join(',') }),
      },
      lockFile: lockFileOf(index, marker),
    });
  } catch (error) {
    await removeIndex(index, marker).catch(() => {});
    throw toStartError(error);
  }
}
