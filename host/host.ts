/**
 * The process host inside any process: `host/main.ts` is nothing more than this with flags.
 *
 * It holds no secret of a step, and nothing that the disk does not have: it may be killed at any moment, and the next
 * one goes on with what it finds.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs';
import { mkdir, unlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage, StepError } from '../core/error.js';
import {
  HOST_PROTOCOL_VERSION,
  type EndReason,
  type HostCommand,
  type HostDevice,
  type HostInfo,
  type HostMethod,
  type HostMethods,
} from '../core/host-protocol.js';
import { runCommand } from './command.js';
import { findProgram, probeContainment, type Containment } from './containment.js';
import { createDeviceQueue } from './device-queue.js';
import { createDevices } from './devices.js';
import { assertLocalDisk } from './disk.js';
import { hostFolder, type HostFolder } from './host-folder.js';
import { openHostId } from './host-id.js';
import {
  assertOurMachine,
  lockHeld,
  openHostFolder,
  openSecret,
  signLock,
  touchLock,
  TOUCH_LOCK_EVERY_MS,
  unsignLock,
} from './host-record.js';
import { tryLock, type FileHandleLike } from './lock.js';
import { readPidNamespace } from './process-table.js';
import { createPrograms, type Programs } from './programs.js';
import { createSpareShim } from './spare-shim.js';
import { createHostServer, type HostServer, type RequestCaller } from './server.js';

export interface HostOptions {
  readonly stateDir: string;
  /** Which build this is, for people. */
  readonly build?: string;
  /** Forces a weaker containment than the machine allows. */
  readonly containment?: HostInfo['containment'];
  /** Ids of the devices; absent: ask `nvidia-smi`. */
  readonly gpus?: readonly string[];
  /** Ends the host when it has had neither a connection nor a program for so long; absent: never. */
  readonly idleExitMs?: number;
  /** What an operator should know, a line each. */
  readonly onRemark?: (text: string) => void;
}

export interface RunningHost {
  readonly info: HostInfo;
  /** Settles when the host has stopped, however that came about. */
  readonly closed: Promise<void>;
  /** Ends the host; its programs go on unless `leavePrograms` is false. */
  stop(options?: StopOptions): Promise<void>;
}

interface StopOptions {
  readonly leavePrograms?: boolean;
  /** Why the programs are ended; absent: a person did it. */
  readonly reason?: EndReason;
}

/** How long a host that is just ending may hold the lock. */
const LOCK_WAIT_MS = 1_500;
/** How long `nvidia-smi` may keep the host from serving; its devices are then seen later. */
const DEVICES_WAIT_MS = 1_000;
const FOLDER_LOOK_MS = 2_000;

/**
 * Takes over what an earlier host of the state folder left, then serves its socket. Throws HOST_UNUSABLE when
 * another host has the folder (and says which), when the folder is not ours or lies on a network disk.
 */
export async function startHost(options: HostOptions): Promise<RunningHost> {
  const stateDir = path.resolve(options.stateDir);
  await mkdir(stateDir, { recursive: true });
  await assertLocalDisk(stateDir);
  const folder = hostFolder(stateDir);
  openHostFolder(folder);
  const lock = await takeLock(folder);
  try {
    assertOurMachine(folder);
    signLock(folder.lock, options.build ?? 'unnamed');
    return await serve({ ...options, stateDir }, folder, lock);
  } catch (error) {
    await lock.close();
    throw error;
  }
}

async function takeLock(folder: HostFolder): Promise<FileHandleLike> {
  const givenUpAtMs = Date.now() + LOCK_WAIT_MS;
  for (;;) {
    // Before the look: the last one is made when the time is over, however long it then takes.
    const isLast = Date.now() > givenUpAtMs;
    const lock = await tryLock(folder.lock);
    if (lock !== null) return lock;
    if (isLast) throw lockHeld(folder);
    await sleep(100);
  }
}

async function findFlock(): Promise<string> {
  const flock = await findProgram('flock');
  if (flock !== null) return flock;
  throw new StepError('HOST_UNUSABLE', 'The program flock is missing.', {
    hint: 'Install the package util-linux.',
  });
}

async function serve(
  options: HostOptions,
  folder: HostFolder,
  lock: FileHandleLike,
): Promise<RunningHost> {
  const { stateDir, onRemark = () => {} } = options;
  const containment = await probeContainment(
    options.containment === undefined ? {} : { force: options.containment },
  );
  const devices = createDevices({
    ...(options.gpus === undefined ? {} : { ids: options.gpus }),
    onRemark,
  });
  let isClosing = false;
  const shims = { index: folder.programs, containment, flock: await findFlock() };
  const spareShim = createSpareShim(shims);
  const programs = createPrograms({
    stateDir,
    shims,
    spareShim,
    queue: createDeviceQueue(devices),
    onRemark,
    isClosing: () => isClosing,
  });
  const pidNamespace = await readPidNamespace('self');
  const base = {
    hostId: openHostId(stateDir),
    pid: process.pid,
    ...(pidNamespace === null ? {} : { pidNamespace }),
    build: options.build ?? 'unnamed',
    protocol: HOST_PROTOCOL_VERSION,
    startedAtMs: Date.now(),
    containment: containment.level,
    promise: containment.promise,
  };
  let seen: readonly HostDevice[] = [];
  const lookAtDevices = async (): Promise<HostInfo> => {
    seen = await devices.list();
    return { ...base, devices: seen };
  };
  const firstLook = lookAtDevices().catch((error: unknown) =>
    onRemark(`The devices could not be listed: ${errorMessage(error)}`),
  );
  await Promise.race([firstLook, sleep(DEVICES_WAIT_MS, undefined, { ref: false })]);
  await programs.takeOver();
  spareShim.refill();

  const idle = createIdleWatch(options.idleExitMs, () => programs.isIdle(), stopLater);
  const answer = createAnswers({
    programs,
    containment,
    lookAtDevices,
    stop: stopLater,
  });
  const server = createHostServer({
    secret: openSecret(folder.secret),
    info: () => ({ ...base, devices: seen }),
    answer,
    onConnections: idle.onConnections,
  });
  const directory = await listen(server, folder);
  let markClosed: () => void = () => {};
  const closed = new Promise<void>((resolve) => {
    markClosed = resolve;
  });
  let stopping: Promise<void> | null = null;
  const isOurFolder = (): boolean =>
    lstatSync(folder.root, { throwIfNoEntry: false })?.ino === fstatSync(directory).ino;
  const folderWatch = setInterval(() => {
    if (isClosing) return;
    if (isOurFolder()) {
      spareShim.renew();
      return;
    }
    onRemark(`${folder.root} was removed, so this process host ends; its programs go on`);
    stopLater();
  }, FOLDER_LOOK_MS);
  folderWatch.unref();
  const signature = setInterval(() => touchLock(folder.lock), TOUCH_LOCK_EVERY_MS);
  signature.unref();

  async function stopNow({ leavePrograms = true, reason = 'killed' }: StopOptions): Promise<void> {
    isClosing = true;
    idle.stop();
    clearInterval(folderWatch);
    clearInterval(signature);
    // Nobody new; a host that starts meanwhile waits for the lock. In a folder that was made anew it is another's.
    if (isOurFolder()) await unlink(folder.socket).catch(() => {});
    await server.close();
    if (!leavePrograms) await programs.endAll(reason);
    await programs.detach();
    await spareShim.close();
    if (isOurFolder()) unsignLock(folder.lock);
    closeSync(directory);
    await lock.close();
    markClosed();
  }

  function stop(how: StopOptions = {}): Promise<void> {
    stopping ??= stopNow(how);
    return stopping;
  }

  function stopLater(): void {
    setImmediate(() => void stop());
  }

  return { info: { ...base, devices: seen }, closed, stop };
}

/** Listens on the folder's socket; returns the open folder, through which its path is short enough. */
async function listen({ server }: HostServer, folder: HostFolder): Promise<number> {
  // Left by a host that was killed: we hold the lock, so nobody listens there.
  await unlink(folder.socket).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  const directory = openSync(folder.root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(`/proc/self/fd/${directory}/socket`, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
    return directory;
  } catch (error) {
    closeSync(directory);
    throw new StepError(
      'HOST_UNUSABLE',
      `The process host cannot listen on ${folder.socket}: ${errorMessage(error)}`,
      { cause: error },
    );
  }
}

/** Calls `onIdle` when there was neither a connection nor a program for the whole time. */
function createIdleWatch(
  idleExitMs: number | undefined,
  isIdle: () => boolean,
  onIdle: () => void,
): { onConnections: (count: number) => void; stop: () => void } {
  if (idleExitMs === undefined) return { onConnections: () => {}, stop: () => {} };
  let connections = 0;
  const everyMs = Math.min(Math.max(idleExitMs / 4, 10), 5_000);
  // By its looks, not by the clock: a host that was frozen must first hear who has called meanwhile.
  let idleMs = 0;
  const timer = setInterval(() => {
    idleMs = connections > 0 || !isIdle() ? 0 : idleMs + everyMs;
    if (idleMs >= idleExitMs) onIdle();
  }, everyMs);
  return {
    onConnections(count) {
      connections = count;
      idleMs = 0;
    },
    stop: () => clearInterval(timer),
  };
}

function createAnswers(host: {
  readonly programs: Programs;
  readonly containment: Containment;
  readonly lookAtDevices: () => Promise<HostInfo>;
  readonly stop: () => void;
}): (method: HostMethod, params: object, caller: RequestCaller) => Promise<unknown> {
  const { programs, containment } = host;
  const answers: {
    readonly [M in HostMethod]: (
      params: HostMethods[M]['params'],
      caller: RequestCaller,
    ) => Promise<HostMethods[M]['result']>;
  } = {
    run(params, caller) {
      const { start } = params.place;
      if (!Number.isSafeInteger(start) || start < 1) throw new Error(`There is no start ${start}.`);
      return programs.run(params, caller);
    },
    end: (params) => programs.end(params),
    endRun: (params) => programs.endRun(params),
    extend: (params) => programs.extend(params),
    list: async () => ({ programs: programs.list() }),
    info: () => host.lookAtDevices(),
    command: (params: HostCommand, { signal }) => runCommand(params, containment, signal),
    async shutdown({ leavePrograms }) {
      if (!leavePrograms && !programs.isIdle()) {
        throw new StepError(
          'HOST_BUSY',
          `The process host has ${programs.list().length} programs that run or wait.`,
          { hint: '`adit ps` lists them. They go on without a host where they are to be left.' },
        );
      }
      host.stop();
      return {};
    },
  };
  return async (method, params, caller) =>
    (answers[method] as (params: object, caller: RequestCaller) => Promise<unknown>)(
      params,
      caller,
    );
}
