import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { withoutTemporalVariables, type TemporalBinary } from './find-binary.js';
import { endProcess, identifyProcess, type ProcessIdentity } from './process-identity.js';
import { TemporalServerError } from './server-error.js';

/**
 * As it comes, the server gives a sequential run 100 ms per step (its transfer queue is read 20 times a
 * second) and no timer under a second (temporal-guide facts 13 and 14).
 */
export const TUNING = [
  'history.transferProcessorMaxPollRPS=1000',
  'history.timerProcessorMaxTimeShift="10ms"',
];

const START_TIMEOUT_MS = 60_000;
const STOP_GRACE_MS = 10_000;
const NAMESPACE = 'default';

export interface ServerStart {
  readonly binary: TemporalBinary;
  /** The database; it survives a restart. The folder is made. */
  readonly dbFile: string;
  /** The server's output is appended here. */
  readonly logFile: string;
  readonly env: NodeJS.ProcessEnv;
  /** Ports that are taken when they are free; else free ones are found. */
  readonly preferredPorts?: { readonly server?: number; readonly ui?: number };
  /** No web UI. */
  readonly headless?: boolean;
  /** As it comes, without the tuning: only to measure the difference. */
  readonly untuned?: boolean;
  readonly signal?: AbortSignal;
}

export interface RunningServer {
  readonly address: string;
  readonly namespace: string;
  readonly ui: string | null;
  readonly ports: { readonly server: number; readonly ui: number | null };
  readonly process: ProcessIdentity;
  /** Ends it in order; what it stored stays. */
  stop(): Promise<void>;
}

/**
 * Starts an embedded Temporal server, tuned, detached from this process (it outlives it unless
 * `stop` is called), and waits until it answers. Throws TemporalServerError SERVER_START_FAILED.
 */
export async function startTemporalServer(start: ServerStart): Promise<RunningServer> {
  // Free ports are found before the server binds them, so another program can be faster.
  for (let tries = 1; ; tries += 1) {
    const ports = {
      server: await freePort(start.preferredPorts?.server),
      ui: start.headless === true ? null : await freePort(start.preferredPorts?.ui),
    };
    try {
      return await startOn(ports, start);
    } catch (error) {
      const taken =
        error instanceof TemporalServerError && /address already in use/i.test(error.message);
      if (!taken || tries === 3) throw error;
    }
  }
}

async function startOn(ports: RunningServer['ports'], start: ServerStart): Promise<RunningServer> {
  mkdirSync(path.dirname(start.dbFile), { recursive: true });
  mkdirSync(path.dirname(start.logFile), { recursive: true });
  const log = openSync(start.logFile, 'a');
  const args = [
    'server',
    'start-dev',
    '--ip=127.0.0.1',
    `--port=${ports.server}`,
    ports.ui === null ? '--headless' : `--ui-port=${ports.ui}`,
    `--db-filename=${start.dbFile}`,
    '--log-level=error',
    '--sqlite-pragma=journal_mode=WAL',
    '--sqlite-pragma=synchronous=NORMAL',
    ...(start.untuned === true ? [] : TUNING.map((value) => `--dynamic-config-value=${value}`)),
  ];
  const child = spawn(start.binary.path, args, {
    detached: true,
    stdio: ['ignore', log, log],
    env: withoutTemporalVariables(start.env),
  });
  closeSync(log);
  let ended: string | null = null;
  child.once('error', (error) => (ended = error.message));
  child.once(
    'exit',
    (code, signal) => (ended = signal === null ? `exit code ${code}` : `signal ${signal}`),
  );
  child.unref();
  const address = `127.0.0.1:${ports.server}`;
  const identity = child.pid === undefined ? null : identifyProcess(child.pid);
  const stop = async (): Promise<void> => {
    if (identity !== null) await endProcess(identity, STOP_GRACE_MS);
  };
  try {
    await waitUntilReady(address, () => ended, start);
  } catch (error) {
    await stop();
    throw error;
  }
  if (identity === null) throw await startFailure('it ended at once', start);
  return {
    address,
    namespace: NAMESPACE,
    ui: ports.ui === null ? null : `http://127.0.0.1:${ports.ui}`,
    ports,
    process: identity,
    stop,
  };
}

/** Ready means: it answers for its namespace, not only that the port is open. */
async function waitUntilReady(
  address: string,
  ended: () => string | null,
  start: ServerStart,
): Promise<void> {
  const connection = Connection.lazy({ address, tls: false, connectTimeout: 1_000 });
  const deadline = Date.now() + START_TIMEOUT_MS;
  try {
    for (;;) {
      start.signal?.throwIfAborted();
      const end = ended();
      if (end !== null) throw await startFailure(`it ended with ${end}`, start);
      try {
        await connection.withDeadline(Date.now() + 1_000, () =>
          connection.workflowService.describeNamespace({ namespace: NAMESPACE }),
        );
        return;
      } catch (error) {
        if (Date.now() > deadline) {
          throw await startFailure(
            `it does not answer after ${START_TIMEOUT_MS / 1000} s (${(error as Error).message})`,
            start,
          );
        }
      }
      await sleep(50);
    }
  } finally {
    await connection.close();
  }
}

async function startFailure(why: string, start: ServerStart): Promise<TemporalServerError> {
  const log = await readFile(start.logFile, 'utf8').catch(() => '');
  const tail = log.trim().split('\n').slice(-3).join('\n').slice(-1_000);
  return new TemporalServerError(
    'SERVER_START_FAILED',
    `The Temporal server (${start.binary.path}) did not start: ${why}.${tail === '' ? '' : `\n${tail}`}`,
    `Its log is ${start.logFile}; its data is ${start.dbFile}. Data of another Temporal version may not be readable: move it away to begin anew.`,
  );
}

/** `preferred` when it can be bound, else any free port of 127.0.0.1. */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && preferred > 0) {
    const port = await tryPort(preferred);
    if (port !== null) return port;
  }
  const port = await tryPort(0);
  if (port === null)
    throw new TemporalServerError(
      'SERVER_START_FAILED',
      'No port of 127.0.0.1 is free.',
      'Close some programs.',
    );
  return port;
}

function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(null));
    probe.listen({ host: '127.0.0.1', port, exclusive: true }, () => {
      const bound = (probe.address() as AddressInfo).port;
      probe.close(() => resolve(bound));
    });
  });
}
