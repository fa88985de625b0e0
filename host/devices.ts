/**
 * The GPUs of this machine, and who has which.
 *
 * Invariants:
 * 1. A device is leased while the lock of its file is held: by the program, through the descriptor that its shim
 *    inherits, so exactly as long as the program lives, whatever becomes of the host.
 * 2. The files lie in one folder for the whole machine, so hosts of several state folders and users share devices.
 * 3. Several devices are leased together or not at all.
 */
import { constants } from 'node:fs';
import { chmod, lstat, mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../core/error.js';
import type { HostDevice } from '../core/host-protocol.js';
import { plainText } from '../core/plain-text.js';
import { isLocked, tryLock, type FileHandleLike } from './lock.js';
import { queryGpus, queryGpuUses, type Gpu, type GpuUse, type SmiAnswer } from './nvidia-smi.js';
import { readStat } from './process-table.js';

export interface Devices {
  list(): Promise<readonly HostDevice[]>;
  /** How many there are, whoever has them. */
  total(): Promise<number>;
  /**
   * Leases `count` devices, or says what it waits for; it never waits itself. The descriptors of `locks` go to the
   * shim; close them here when it has them. `holder` is told to whoever waits: the run and the step.
   */
  tryLease(
    count: number,
    holder: string,
  ): Promise<
    { readonly ids: string[]; readonly locks: FileHandleLike[] } | { readonly waitingFor: string }
  >;
}

export interface DevicesOptions {
  /** As CUDA_VISIBLE_DEVICES takes them; absent: those that nvidia-smi lists. */
  readonly ids?: readonly string[];
  /** Absent: `adit-devices` in the folder for locks of this machine. */
  readonly lockFolder?: string;
  /** Told what is odd, each once. */
  readonly onRemark?: (text: string) => void;
  /** How long nvidia-smi may take. */
  readonly smiTimeoutMs?: number;
}

/** Which devices there are changes only with the hardware; an answer that was none is asked for again. */
const GPUS_FOR_MS = 10 * 60_000;
const FAILURE_FOR_MS = 60_000;
const USES_FOR_MS = 5_000;
const LONGEST_HOLDER = 300;

/**
 * One device: `id` for people and programs. Each of `keys` names a lock of it: all that it is known to be called by,
 * since nvidia-smi may not have answered whoever leased it, or may not answer whoever asks next.
 */
interface Device {
  readonly id: string;
  readonly keys: readonly string[];
  /** As nvidia-smi calls it; null where it does not know it. */
  readonly uuid: string | null;
}

export function createDevices(options: DevicesOptions): Devices {
  const told = new Set<string>();
  const remark = (text: string): void => {
    if (told.has(text)) return;
    told.add(text);
    options.onRemark?.(text);
  };
  // A device that was there is not gone because nvidia-smi hangs once.
  const gpus = createMemory(() => queryGpus(options.smiTimeoutMs), GPUS_FOR_MS, {
    keepsLast: true,
  });
  const uses = createMemory(() => queryGpuUses(options.smiTimeoutMs), USES_FOR_MS);
  let folder: Promise<string> | null = null;
  const lockFile = async (key: string): Promise<string> => {
    folder ??= prepareFolder(options.lockFolder);
    return path.join(await folder, `${key.replace(/[^0-9A-Za-z-]/g, '_')}.lock`);
  };

  async function devices(): Promise<Device[]> {
    if (options.ids?.length === 0) return [];
    const answer = await gpus.read();
    const known: readonly Gpu[] = 'found' in answer ? answer.found : [];
    if (options.ids === undefined) {
      if ('remark' in answer) remark(answer.remark);
      return known.map(({ uuid, index }) => ({ id: uuid, keys: [uuid, index], uuid }));
    }
    const named = options.ids.map((id) => {
      const gpu = known.find((one) => one.uuid === id || one.index === id);
      return {
        id,
        keys: gpu === undefined ? [id] : [gpu.uuid, gpu.index],
        uuid: gpu?.uuid ?? null,
      };
    });
    return [...new Map(named.map((device) => [device.keys[0], device])).values()];
  }

  /** Who uses a device that nobody has leased; null: nobody, as far as nvidia-smi says. */
  async function foreignUse(device: Device, isFresh: boolean): Promise<GpuUse | null> {
    if (device.uuid === null) return null;
    const answer = await uses.read({ isFresh });
    if ('remark' in answer) {
      remark(answer.remark);
      return null;
    }
    const use = answer.found.find(({ uuid }) => uuid === device.uuid) ?? null;
    // What was just seen may have ended since: our own program, for example.
    if (use === null || isFresh || (await readStat(use.pid)) !== null) return use;
    return foreignUse(device, true);
  }

  /** The device's state, and with `take` its locks, where it is free. */
  async function inspect(device: Device, take: boolean): Promise<Inspected> {
    const locks: Lock[] = [];
    try {
      const found = await inspectWith(device, take ? locks : null);
      if (found.state !== 'free') await closeAll(locks.splice(0));
      return { state: found, locks };
    } catch (error) {
      await closeAll(locks);
      throw error;
    }
  }

  /** The device's state; its locks are taken as far as they are free, where there are `locks` to put them into. */
  async function inspectWith(device: Device, locks: Lock[] | null): Promise<HostDevice> {
    const { id } = device;
    for (const key of device.keys) {
      const file = await lockFile(key);
      const lock = locks === null ? null : await tryLock(file, { mode: 0o666 });
      if (lock !== null) locks?.push(lock);
      else if (locks !== null || (await isLocked(file))) {
        const holder = await readHolder(file);
        return { id, state: 'leased', ...(holder !== '' && { holder }) };
      }
    }
    const use = await foreignUse(device, false);
    if (use === null) return { id, state: 'free' };
    return { id, state: 'foreign', holder: `process ${use.pid}, which Adit did not start` };
  }

  // One lease at a time: two that each took half of the devices would both go away empty-handed.
  let last: Promise<unknown> = Promise.resolve();

  async function lease(count: number, holder: string): ReturnType<Devices['tryLease']> {
    const ids: string[] = [];
    const locks: Lock[] = [];
    const busy: HostDevice[] = [];
    try {
      const all = await devices();
      if (all.length < count) {
        return { waitingFor: `${count} devices, of which this host has ${all.length}` };
      }
      for (const device of all) {
        if (ids.length === count) break;
        const { state, locks: taken } = await inspect(device, true);
        locks.push(...taken);
        if (state.state === 'free') ids.push(device.id);
        else busy.push(state);
      }
      if (ids.length < count) {
        await closeAll(locks.splice(0));
        return { waitingFor: describeBusy(busy) };
      }
      for (const lock of locks) {
        await lock.handle.truncate(0);
        await lock.handle.write(`${plainText(holder, LONGEST_HOLDER)}\n`, 0);
      }
    } catch (error) {
      await closeAll(locks);
      throw error;
    }
    return { ids, locks };
  }

  return {
    total: async () => (await devices()).length,
    list: async () =>
      Promise.all((await devices()).map(async (device) => (await inspect(device, false)).state)),
    async tryLease(count, holder) {
      const mine = last.then(() => lease(count, holder));
      last = mine.catch(() => {});
      return mine;
    },
  };
}

type Lock = NonNullable<Awaited<ReturnType<typeof tryLock>>>;

interface Inspected {
  readonly state: HostDevice;
  /** Empty unless it is free, and its locks were asked for. */
  readonly locks: readonly Lock[];
}

async function closeAll(locks: readonly Lock[]): Promise<void> {
  for (const lock of locks) await lock.close();
}

/** `device 0 (run r, step s)`, or several of them. */
function describeBusy(busy: readonly HostDevice[]): string {
  const each = busy.map(({ id, holder }) => (holder === undefined ? id : `${id} (${holder})`));
  return `${busy.length === 1 ? 'device' : 'one of the devices'} ${each.join(', ')}`;
}

/**
 * Remembers an answer; one that was none is asked for again sooner, and never while it is still awaited. With
 * `keepsLast` the last answer holds as long as there is no other.
 */
function createMemory<T>(
  ask: () => Promise<SmiAnswer<T>>,
  forMs: number,
  { keepsLast = false }: { readonly keepsLast?: boolean } = {},
): { read(options?: { readonly isFresh: boolean }): Promise<SmiAnswer<T>> } {
  let known: { readonly answer: SmiAnswer<T>; readonly untilMs: number } | null = null;
  let asking: Promise<SmiAnswer<T>> | null = null;
  return {
    async read({ isFresh } = { isFresh: false }) {
      const isFailure = known !== null && 'remark' in known.answer;
      if (known !== null && (!isFresh || isFailure) && performance.now() < known.untilMs) {
        return known.answer;
      }
      asking ??= ask().finally(() => {
        asking = null;
      });
      const told = await asking;
      const lastsMs = 'remark' in told ? FAILURE_FOR_MS : forMs;
      const isKept = keepsLast && 'remark' in told && known !== null && 'found' in known.answer;
      const answer = isKept && known !== null ? known.answer : told;
      known = { answer, untilMs: performance.now() + lastsMs };
      return answer;
    },
  };
}

/** What the holder of a lock wrote into its file; anybody may have. */
async function readHolder(file: string): Promise<string> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(file, flags).catch(() => null);
  if (handle === null) return '';
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2_048), 0, 2_048, 0);
    return plainText(buffer.toString('utf8', 0, bytesRead), LONGEST_HOLDER);
  } finally {
    await handle.close();
  }
}

/** Sticky and writable for all, as /tmp: every user locks, nobody removes another's file. */
const SHARED_MODE = 0o1777;

/** The folder of the locks. By default one for the whole machine, whoever asks: TMPDIR does not decide. */
async function prepareFolder(chosen: string | undefined): Promise<string> {
  if (chosen !== undefined) {
    await mkdir(chosen, { recursive: true, mode: 0o700 });
    return chosen;
  }
  const folder = path.join(await machineFolder(), 'adit-devices');
  await prepareSharedFolder(folder);
  return folder;
}

/** Makes a folder that all users of the machine share, or takes the one that is there. */
export async function prepareSharedFolder(folder: string): Promise<void> {
  await mkdir(folder).then(
    () => chmod(folder, SHARED_MODE),
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    },
  );
  const found = await lstat(folder);
  const unusable = (why: string): StepError =>
    new StepError('HOST_UNUSABLE', `The folder of the device locks, ${folder}, ${why}.`, {
      hint: 'Remove it when no program of Adit runs on this machine; the process host makes it anew.',
    });
  if (!found.isDirectory()) throw unusable('is no directory');
  const isOurs = found.uid === process.getuid?.();
  if (isOurs && (found.mode & 0o7777) !== SHARED_MODE) await chmod(folder, SHARED_MODE);
  else if ((found.mode & SHARED_MODE) !== SHARED_MODE) {
    throw unusable(`belongs to user ${found.uid} and is not sticky and writable for all`);
  }
}

async function machineFolder(): Promise<string> {
  const found = await lstat('/run/lock').catch(() => null);
  const isShared = found?.isDirectory() === true && (found.mode & SHARED_MODE) === SHARED_MODE;
  return isShared ? '/run/lock' : '/tmp';
}
