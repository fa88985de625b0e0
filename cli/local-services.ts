/**
 * What `adit dev` and `adit demo` run on this machine: an embedded Temporal server, the local network and
 * a worker, each a process of its own. All their data lies in `<state>/<kind>` and survives a restart.
 */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '@temporalio/client';
import {
  localServerVariables,
  serverVariables,
  type ServerChoice,
} from '../adapters/temporal-server/choose-server.js';
import { connectTo, plainOptions } from '../adapters/temporal-server/connect.js';
import { findTemporal } from '../adapters/temporal-server/find-binary.js';
import {
  registerSearchAttributes,
  RETENTION_DAYS,
  setRetention,
} from '../adapters/temporal-server/prepare-namespace.js';
import {
  endProcess,
  identifyProcess,
  isAlive,
  type ProcessIdentity,
} from '../adapters/temporal-server/process-identity.js';
import {
  readServices,
  removeServices,
  servicesFolder,
  writeServices,
  type Services,
  type ServicesKind,
} from '../adapters/temporal-server/services-file.js';
import { startTemporalServer } from '../adapters/temporal-server/start-server.js';
import type { Settings } from '../adapters/settings/settings.js';
import { SEARCH_ATTRIBUTES } from '../workflows/contract.js';
import { endHost } from './end-host.js';
import { startChild, type Child } from './child-process.js';
import { settleAll } from './settle-all.js';

/** Time for a worker to hand back what it does, and for the devnet to close its database. */
const STOP_GRACE_MS = 10_000;
const LOOK_EVERY_MS = 500;
const MOST_BACK_OFF_MS = 30_000;
/** A child that ran this long has started well: the next back-off begins anew. */
const STEADY_MS = 60_000;

/** Settings that a user may give to the services too; the others come from the local network. */
const PASSED_ON = [
  'ADIT_CACHE_DIR',
  'ADIT_MIN_FREE_BYTES',
  'ADIT_MAX_HOST_STEPS',
  'ADIT_STICKY_SECONDS',
  'ADIT_DEBUG',
];

export interface ServicesOptions {
  readonly kind: ServicesKind;
  /** Settings of the command: state and cache folder. */
  readonly settings: Settings;
  readonly env: NodeJS.ProcessEnv;
  /** Told what is being done. */
  readonly onProgress: (text: string) => void;
  readonly preferredPorts?: { readonly server?: number; readonly ui?: number };
  /** A server to use in place of an embedded one; it is neither tuned, nor watched, nor ended. */
  readonly server?: ServerChoice;
  readonly signal: AbortSignal;
}

/** The Temporal server in use; `process` is null for one that is not ours. */
interface ServerInUse {
  readonly address: string;
  readonly namespace: string;
  readonly ui: string | null;
  readonly process: ProcessIdentity | null;
  stop(): Promise<void>;
}

export interface LocalServices {
  /** As written to the state file. */
  current(): Services;
  /** The server of these services, to connect to. */
  server(): ServerChoice;
  /** Starts again, with a back-off, whatever dies; returns when `signal` is aborted. */
  supervise(signal: AbortSignal): Promise<void>;
  /** Leaves all running when this command ends. */
  release(): void;
  /** Ends all, in the order in which nothing is lost, and removes the state file. */
  stop(): Promise<void>;
}

/** Starts all three and waits until they are ready; when one fails or `signal` is aborted, ends them again. */
export async function startLocalServices(options: ServicesOptions): Promise<LocalServices> {
  const { kind, settings, env, onProgress, signal } = options;
  const folder = servicesFolder(settings.stateDir, kind);
  const logFolder = path.join(folder, 'logs');
  mkdirSync(folder, { recursive: true });
  await endLeftovers(settings.stateDir, kind, onProgress);

  const given = options.server ?? null;
  const binary =
    given === null
      ? await findTemporal({ env, cacheDir: settings.cacheDir, onProgress, signal })
      : null;
  const startedAt = new Date().toISOString();
  let ports: { readonly server?: number; readonly ui?: number } = options.preferredPorts ?? {};
  let temporal: ServerInUse | null = null;
  let devnet: Child | null = null;
  let worker: Child | null = null;
  let variables: { readonly [name: string]: string } = {};

  async function reachServer({ address, namespace }: ServerChoice): Promise<void> {
    const connection = await connectTo(choice(address, namespace));
    try {
      // How long a namespace of somebody else keeps its runs is not ours to say.
      await registerAttributes(connection, namespace, onProgress);
    } finally {
      await connection.close();
    }
    temporal = { address, namespace, ui: null, process: null, stop: async () => {} };
  }

  async function startServer(): Promise<void> {
    if (binary === null) {
      if (given !== null) await reachServer(given);
      return;
    }
    const server = await startTemporalServer({
      binary,
      dbFile: path.join(folder, 'temporal', 'temporal.db'),
      logFile: path.join(logFolder, 'temporal.log'),
      env,
      preferredPorts: ports,
      signal,
    });
    temporal = server;
    ports = {
      server: server.ports.server,
      ...(server.ports.ui === null ? {} : { ui: server.ports.ui }),
    };
    const connection = await connectTo(choice(server.address, server.namespace));
    try {
      await prepare(connection, server.namespace, onProgress);
    } finally {
      await connection.close();
    }
  }

  async function startNetwork(): Promise<void> {
    devnet = await startChild({
      name: 'devnet',
      program: 'devnet/main.js',
      args: ['--home', path.join(folder, 'devnet'), '--port', '0', '--json'],
      env: childEnvironment(env, {}),
      cwd: folder,
      logFolder,
      signal,
    });
    variables = {
      ...networkVariables(devnet, folder),
      // Workers of others may serve the usual queue of a server that is shared.
      ...(given === null ? {} : { ADIT_TASK_QUEUE: queueOf(folder) }),
    };
  }

  async function startWorker(): Promise<void> {
    if (temporal === null) throw new Error('the worker needs the server');
    worker = await startChild({
      name: 'worker',
      program: 'worker/main.js',
      args: [],
      env:
        given === null
          ? localServerVariables(
              temporal.address,
              temporal.namespace,
              childEnvironment(env, variables),
            )
          : serverVariables(given, childEnvironment(env, variables)),
      cwd: folder,
      logFolder,
      signal,
    });
  }

  function current(keeper = identifyProcess(process.pid)): Services {
    if (temporal === null || devnet === null || worker === null)
      throw new Error('the services are not started');
    return {
      kind,
      ...(keeper === null ? {} : { keeper }),
      startedAt,
      temporal: {
        address: temporal.address,
        namespace: temporal.namespace,
        ui: temporal.ui,
        process: temporal.process,
        tuned: given === null,
      },
      devnet: {
        coordinator: String(devnet.ready['coordinator']),
        pool: String(devnet.ready['pool']),
        artifacts: String(devnet.ready['artifacts']),
        process: devnet.process,
      },
      worker: { taskQueue: String(worker.ready['taskQueue']), process: worker.process },
      variables,
    };
  }

  function choice(address: string, namespace: string, services?: Services): ServerChoice {
    const own: ServerChoice = {
      address,
      namespace,
      source: kind,
      origin: `of this \`adit ${kind}\``,
      connectionOptions: plainOptions(address),
    };
    return { ...(given ?? own), ...(services === undefined ? {} : { services }) };
  }

  async function stop(): Promise<void> {
    if (worker !== null) {
      await endProcess(worker.process, STOP_GRACE_MS);
      await endHost(folder, kind, onProgress);
    }
    if (devnet !== null) await endProcess(devnet.process, STOP_GRACE_MS);
    if (temporal !== null) await temporal.stop();
    removeServices(settings.stateDir, kind);
  }

  async function restart(name: 'temporal' | 'devnet' | 'worker'): Promise<void> {
    const address = temporal?.address;
    await { temporal: startServer, devnet: startNetwork, worker: startWorker }[name]();
    // Its port was taken meanwhile: the worker must learn the new one.
    if (name === 'temporal' && temporal?.address !== address && worker !== null) {
      await endProcess(worker.process, STOP_GRACE_MS);
    }
    writeServices(settings.stateDir, current());
  }

  async function keepAlive(
    name: 'temporal' | 'devnet' | 'worker',
    ended: AbortSignal,
  ): Promise<void> {
    const processOf = () => ({ temporal, devnet, worker })[name]?.process ?? null;
    let since = Date.now();
    for (let failures = 0; !ended.aborted;) {
      const identity = processOf();
      if (identity !== null && isAlive(identity)) {
        await pause(LOOK_EVERY_MS, ended);
        continue;
      }
      if (Date.now() - since > STEADY_MS) failures = 0;
      const backOffMs = Math.min(MOST_BACK_OFF_MS, 1_000 * 2 ** failures);
      failures += 1;
      onProgress(`the ${nameOf(name)} is gone; starting it again in ${backOffMs / 1000} s`);
      await pause(backOffMs, ended);
      if (ended.aborted) return;
      since = Date.now();
      await restart(name).catch((error: unknown) => {
        if (!ended.aborted) onProgress(error instanceof Error ? error.message : String(error));
      });
    }
  }

  try {
    onProgress(
      binary === null
        ? `using the Temporal server at ${given?.address ?? ''}; starting the local network`
        : `starting the Temporal server (${binary.version}) and the local network`,
    );
    // Both are waited for before anything is ended: one that is still starting could not be.
    await settleAll([startServer(), startNetwork()]);
    onProgress('starting the worker');
    await startWorker();
    writeServices(settings.stateDir, current());
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    current: () => current(),
    server: () => {
      if (temporal === null) throw new Error('the server is not started');
      return choice(temporal.address, temporal.namespace, current());
    },
    supervise: async (ended) => {
      const ours = ['devnet', 'worker', ...(given === null ? ['temporal' as const] : [])] as const;
      await Promise.all(ours.map((name) => keepAlive(name, ended)));
    },
    release: () => writeServices(settings.stateDir, current(null)),
    stop,
  };
}

/** Ends services that an earlier command left running; their data stays. Returns whether there were any. The caller holds the lock. */
export async function endLeftovers(
  stateDir: string,
  kind: ServicesKind,
  onProgress: (text: string) => void,
): Promise<boolean> {
  const services = readServices(stateDir, kind);
  if (services === null) return false;
  const { worker, devnet, temporal } = services;
  const alive = [worker.process, devnet.process, temporal.process].filter(
    (identity): identity is ProcessIdentity => identity !== null && isAlive(identity),
  );
  if (alive.length > 0)
    onProgress(`ending what an earlier \`adit ${kind}\` left running (its data stays)`);
  for (const identity of alive) {
    await endProcess(identity, STOP_GRACE_MS);
    // While the server still lives, and no worker that would start another one.
    if (identity === worker.process)
      await endHost(servicesFolder(stateDir, kind), kind, onProgress);
  }
  if (!alive.includes(worker.process))
    await endHost(servicesFolder(stateDir, kind), kind, onProgress);
  removeServices(stateDir, kind);
  return alive.length > 0;
}

async function prepare(
  connection: Connection,
  namespace: string,
  onProgress: (text: string) => void,
): Promise<void> {
  const days = await setRetention(connection, namespace, RETENTION_DAYS);
  if (days !== RETENTION_DAYS)
    onProgress(`the server keeps closed runs for ${days} days, not ${RETENTION_DAYS}`);
  await registerAttributes(connection, namespace, onProgress);
}

async function registerAttributes(
  connection: Connection,
  namespace: string,
  onProgress: (text: string) => void,
): Promise<void> {
  const outcome = await registerSearchAttributes(connection, namespace, SEARCH_ATTRIBUTES);
  if (!outcome.registered)
    onProgress(`the server refuses the search attributes (${outcome.reason}); runs go without`);
}

/** A task queue of this state folder's own; the same after a restart, so that a run goes on. */
function queueOf(folder: string): string {
  return `adit-demo-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}`;
}

/** The settings of a process of the services: those of the local network, and nothing of the user's network. */
export function childEnvironment(
  env: NodeJS.ProcessEnv,
  variables: { readonly [name: string]: string },
): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(
    ([name]) => !name.startsWith('ADIT_') || PASSED_ON.includes(name),
  );
  return { ...Object.fromEntries(kept), ...variables };
}

/** The settings with which a process acts on a local network whose state lies in the folder. */
export function networkVariables(
  { ready }: Child,
  folder: string,
): { readonly [name: string]: string } {
  const hotkeys = ready['hotkeys'] as { miner?: unknown } | undefined;
  return {
    ADIT_STATE_DIR: folder,
    ADIT_COORDINATOR_URL: String(ready['coordinator']),
    ADIT_POOL_URL: String(ready['pool']),
    ADIT_HOTKEY_FILE: String(hotkeys?.miner),
    ADIT_RECIPIENT: String(ready['recipient']),
    // How the devnet's Pool builds its trees; a few leaves alone do not tell every candidate apart.
    ADIT_MERKLE_PROFILE: 'ink-cum-sorted-promote',
    ADIT_PUBLISH_URL: String(ready['artifacts']),
    ADIT_PUBLISH_TOKEN_FILE: String(ready['publishTokenFile']),
    ADIT_PUBLISH_CA_FILE: String(ready['artifactsCaFile']),
    ADIT_TASK_QUEUE: 'adit',
  };
}

function nameOf(name: 'temporal' | 'devnet' | 'worker'): string {
  return { temporal: 'Temporal server', devnet: 'local network', worker: 'worker' }[name];
}

async function pause(ms: number, ended: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal: ended }).catch(() => undefined);
}
