/** What a worker is told by its environment; the only file of the worker that reads `process.env`. */
import { mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { openHostId, readBuild } from '../adapters/processes/host-machine.js';
import { loadSettings, SettingsError, type Settings } from '../adapters/settings/settings.js';

export interface WorkerConfig {
  readonly settings: Settings;
  readonly connection: NativeConnectionOptions;
  readonly namespace: string;
  /** Task queue of this host: steps that need its files run there. */
  readonly hostQueue: string;
  readonly identity: string;
  /** Where `git` is looked for; null: the standard places. */
  readonly searchPath: string | null;
  /** Most steps at one time on this host's queue. */
  readonly maxHostSteps: number;
  /** How long a run waits for the worker that has it in memory, before any other goes on with it. */
  readonly stickyTimeoutMs: number;
  /** The server as its programs record it: only a worker of the same server may say that a run is over. */
  readonly server: { readonly address: string; readonly namespace: string };
  /** Containment to force upon a host that this worker starts; null: the best that the machine allows. */
  readonly containment: string | null;
  /** False: the host is a service of its own, which this worker waits for: one that it started would end with it. */
  readonly startsHost: boolean;
  /** Version of Adit. */
  readonly build: string;
  /** Environment of the command that is told of events: a few names that a program needs, and nothing of Adit's. */
  readonly hookEnvironment: { readonly [name: string]: string };
}

/** Throws SettingsError; connection problems show when the worker connects. */
export function loadWorkerConfig(): WorkerConfig {
  const settings = loadSettings(process.env, process.cwd());
  const { connectionOptions, namespace } = loadClientConnectConfig();
  const hostId = readHostId(settings.stateDir);
  return {
    settings,
    connection: connectionOptions,
    namespace: namespace ?? 'default',
    hostQueue: `${settings.taskQueue}.host.${hostId}`,
    identity: `adit-worker ${process.pid}@${hostname()}`,
    searchPath: process.env['PATH'] ?? null,
    maxHostSteps: readWhole(process.env, 'ADIT_MAX_HOST_STEPS', 16),
    stickyTimeoutMs: readWhole(process.env, 'ADIT_STICKY_SECONDS', 10) * 1_000,
    server: {
      address: connectionOptions.address ?? DEFAULT_ADDRESS,
      namespace: namespace ?? 'default',
    },
    containment: readContainment(process.env['ADIT_CONTAINMENT']),
    startsHost: readStartsHost(process.env['ADIT_START_HOST']),
    build: readBuild(),
    hookEnvironment: readHookEnvironment(process.env),
  };
}

/** Where the client goes when nothing says otherwise. */
const DEFAULT_ADDRESS = 'localhost:7233';

const HOOK_NAMES = ['PATH', 'HOME', 'USER', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'];

function readHookEnvironment(env: NodeJS.ProcessEnv): { [name: string]: string } {
  const kept: { [name: string]: string } = {};
  for (const name of HOOK_NAMES) {
    const value = env[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

const CONTAINMENTS = ['pidNamespace', 'cgroup', 'processGroup'];

function readContainment(text: string | undefined): string | null {
  if (text === undefined || text === '') return null;
  if (CONTAINMENTS.includes(text)) return text;
  throw new SettingsError(
    `ADIT_CONTAINMENT is ${JSON.stringify(text.slice(0, 40))}, not one of ${CONTAINMENTS.join(', ')}.`,
    'Correct or unset it; the default is the strongest that this machine allows.',
  );
}

function readStartsHost(text: string | undefined): boolean {
  if (text === undefined || text === '' || text === 'true') return true;
  if (text === 'false') return false;
  throw new SettingsError(
    `ADIT_START_HOST is ${JSON.stringify(text.slice(0, 40))}, neither true nor false.`,
    'Correct or unset it; the default is true: the worker starts a process host where none runs.',
  );
}

function readWhole(env: NodeJS.ProcessEnv, name: string, instead: number): number {
  const text = env[name];
  if (text === undefined || text === '') return instead;
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new SettingsError(
    `${name} is ${JSON.stringify(text.slice(0, 40))}, not a number from 1 to 9999.`,
    `Correct or unset it; the default is ${instead}.`,
  );
}

/** The name of this machine and state folder in a task queue. */
function readHostId(stateDir: string): string {
  mkdirSync(stateDir, { recursive: true });
  const id = openHostId(stateDir);
  // With an empty name, hosts would share a queue.
  if (id !== '') return id;
  throw new SettingsError(
    `${path.join(stateDir, 'host-id')} is empty.`,
    'Remove it: it is then made anew.',
  );
}
