/**
 * A local network with a worker and a process host of its own, all in one folder that is removed afterwards. It plays
 * one run after another, each from a fresh state of the network.
 * Nothing of the user's network is in it: no setting, no hotkey, no coordinator but the devnet's.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  localServerVariables,
  type ServerChoice,
} from '../../adapters/temporal-server/choose-server.js';
import { isAlive, type ProcessIdentity } from '../../adapters/temporal-server/process-identity.js';
import { loadSettings, type Settings } from '../../adapters/settings/settings.js';
import type { JsonObject } from '../../core/json.js';
import { startChild, type Child } from '../child-process.js';
import { endHost } from '../end-host.js';
import { childEnvironment, networkVariables } from '../local-services.js';
import { settleAll } from '../settle-all.js';
import { followJournal, type JournalLine } from './journals.js';

const PRELOAD = 'rehearse/preload/record-journal.js';

/** Seconds, of both sides: what was lost is settled after window and lag, and a rehearsal waits for it. */
const WINDOW_SECONDS = 2;
const LAG_SECONDS = 2;
/** Shorter than what the client allows for. */
const LISTS_LAG_SECONDS = 1;

export interface SiteOptions {
  /** It is made, and removed by `close`. */
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly server: ServerChoice;
  readonly signal: AbortSignal;
}

interface NextRun {
  /** Boundaries, as texts, at which worker or host stop. */
  readonly stops: readonly string[];
  readonly laggingLists: boolean;
  /** What counts as written down already: the run begins behind it. */
  readonly before: readonly JournalLine[];
}

export interface Site {
  readonly settings: Settings;
  readonly env: NodeJS.ProcessEnv;
  readonly coordinator: string;
  /** Forgets the run before, on the network and in the journals, and is ready for the next one. */
  begin(run: NextRun): Promise<void>;
  /** A route of the devnet's own. Throws when it refuses. */
  admin(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    route: string,
    body?: JsonObject,
  ): Promise<unknown>;
  /** What a public route of the coordinator answers. */
  get(route: string): Promise<unknown>;
  /** What has been written down since the last call. */
  readJournals(): JournalLine[];
  restart(part: 'worker' | 'host' | 'devnet'): Promise<void>;
  /** Ends all at once, and what they have started. */
  close(): Promise<void>;
}

type Part = 'worker' | 'host' | 'devnet';

export async function openSite(options: SiteOptions): Promise<Site> {
  const running = new Map<Part, Child>();
  const close = async (): Promise<void> => {
    const worker = running.get('worker');
    if (worker !== undefined) await kill(worker.process);
    // Its programs with it: nothing of a rehearsal may go on.
    await endHost(options.folder, 'demo', () => {});
    for (const { process: identity } of running.values()) await kill(identity);
    await rm(options.folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    return await startSite(options, running, close);
  } catch (error) {
    await close();
    throw error;
  }
}

async function startSite(
  options: SiteOptions,
  running: Map<Part, Child>,
  close: () => Promise<void>,
): Promise<Site> {
  const { folder, server, signal } = options;
  const inFolder = (name: string): string => path.join(folder, name);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const logFolder = inFolder('logs');
  const journals = { devnet: inFolder('devnet.jsonl'), records: inFolder('records.jsonl') };
  const stopsFile = inFolder('stops');
  const journalFlags = ['--journal', journals.devnet, '--validator-interval', '1'];
  writeFileSync(journals.records, '');

  const startDevnet = async (): Promise<Child> => {
    const started = await startChild({
      name: 'devnet',
      program: 'devnet/main.js',
      args: ['--home', inFolder('devnet'), '--port', '0', '--json', ...journalFlags],
      env: childEnvironment(options.env, {}),
      cwd: folder,
      logFolder,
      signal,
    });
    running.set('devnet', started);
    return started;
  };

  const devnet = await startDevnet();
  const coordinator = String(devnet.ready['coordinator']);
  const variables = {
    ...networkVariables(devnet, folder),
    ADIT_TASK_QUEUE: `rehearsal-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}`,
    ADIT_SIGNATURE_WINDOW_SECONDS: String(WINDOW_SECONDS),
    ADIT_COORDINATOR_LAG_SECONDS: String(LAG_SECONDS),
    ADIT_CLAIM_MARGIN_SECONDS: '1',
    ADIT_MIN_FREE_BYTES: '1000000',
    ADIT_STICKY_SECONDS: '1',
    // Whoever plays starts it again, so that it tells of its records then too.
    ADIT_START_HOST: 'false',
    ADIT_REHEARSAL_JOURNAL: journals.records,
    ADIT_REHEARSAL_STOPS: stopsFile,
  };
  const env = localServerVariables(
    server.address,
    server.namespace,
    childEnvironment(options.env, variables),
  );
  const settings = loadSettings(env, folder);

  const startHost = async (): Promise<void> => {
    const args = ['--state-dir', settings.stateDir];
    const name = 'host';
    running.set(
      name,
      await startChild({
        name,
        program: 'host/main.js',
        args,
        preload: PRELOAD,
        env,
        cwd: folder,
        logFolder,
        signal,
      }),
    );
  };
  const startWorker = async (): Promise<void> => {
    const name = 'worker';
    running.set(
      name,
      await startChild({
        name,
        program: 'worker/main.js',
        args: [],
        preload: PRELOAD,
        env,
        cwd: folder,
        logFolder,
        signal,
      }),
    );
  };

  let read = { devnet: followJournal(journals.devnet), records: followJournal(journals.records) };
  const site: Site = {
    settings,
    env,
    coordinator,
    async begin({ stops, laggingLists, before }) {
      await site.admin('POST', 'begin-anew');
      await site.admin('PUT', 'settings', { listLagSeconds: laggingLists ? LISTS_LAG_SECONDS : 0 });
      // They are open in other processes, which append.
      for (const file of Object.values(journals)) truncateSync(file);
      const records = before.filter(({ event }) => event === 'record');
      appendFileSync(journals.records, records.map((line) => `${JSON.stringify(line)}\n`).join(''));
      writeFileSync(stopsFile, stops.map((stop) => `${stop}\n`).join(''));
      read = { devnet: followJournal(journals.devnet), records: followJournal(journals.records) };
      read.records();
    },
    async admin(method, route, body) {
      const response = await fetch(`${coordinator}/devnet/${route}`, {
        method,
        headers: {
          'X-Admin-Token': String(devnet.ready['adminToken']),
          'Content-Type': 'application/json',
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal,
      });
      if (response.ok) return response.json();
      throw new Error(`${route}: ${response.status} ${(await response.text()).slice(0, 500)}`);
    },
    async get(route) {
      const response = await fetch(`${coordinator}${route}`, { signal });
      if (!response.ok) throw new Error(`${route}: ${response.status}`);
      return response.json();
    },
    readJournals: () => [...read.devnet(), ...read.records()].sort((a, b) => a.atMs - b.atMs),
    async restart(part) {
      const child = running.get(part);
      if (child !== undefined) await kill(child.process);
      if (part === 'worker') await startWorker();
      else if (part === 'host') await startHost();
      else await startDevnet();
    },
    close,
  };
  await site.admin('PUT', 'settings', {
    timestampWindowSeconds: WINDOW_SECONDS,
    publishDelaySeconds: 0,
  });
  // Both of them: one that fails must not leave the other to come up after all has been ended.
  await settleAll([startHost(), startWorker()]);
  return site;
}

/** Not asked, but killed: that is the fault. Also one that is stopped. */
async function kill(identity: ProcessIdentity): Promise<void> {
  if (isAlive(identity)) {
    try {
      process.kill(identity.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  while (isAlive(identity)) await sleep(10);
}
