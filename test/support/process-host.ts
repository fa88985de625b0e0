/** A process host with a state folder of its own, inside the test's process, and what its programs leave. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  HostMethods,
  HostProgramSpec,
  ProgramEnd,
  ProgramEvent,
  ProgramLimits,
  ProgramPlace,
} from '../../core/host-protocol.js';
import { connectHost, type HostClient } from '../../host/client.js';
import { startHost, type HostOptions, type RunningHost } from '../../host/host.js';

export interface TestHost {
  readonly stateDir: string;
  /** A directory for programs to run in. */
  readonly cwd: string;
  readonly remarks: string[];
  /** A path in the state folder. */
  file(name: string): string;
  /** Starts a host, or another one after the first has stopped. */
  start(options?: Partial<HostOptions>): Promise<RunningHost>;
  /** Stops the host, which leaves its programs running. */
  stop(): Promise<void>;
  /** Stops the host, which leaves its programs running, and starts the next. */
  restart(options?: Partial<HostOptions>): Promise<RunningHost>;
  /** A new connection; closed at the end. */
  connect(): Promise<HostClient>;
  /** Ends every program and the host. */
  end(): Promise<void>;
}

export function createTestHost(): TestHost {
  const stateDir = mkdtempSync(path.join(tmpdir(), 'adit-host-'));
  const cwd = path.join(stateDir, 'workspace');
  mkdirSync(cwd);
  const remarks: string[] = [];
  const clients: HostClient[] = [];
  const hosts: RunningHost[] = [];
  async function start(options: Partial<HostOptions> = {}): Promise<RunningHost> {
    const host = await startHost({
      stateDir,
      gpus: [],
      containment: 'processGroup',
      onRemark: (text) => remarks.push(text),
      ...options,
    });
    hosts.push(host);
    return host;
  }
  return {
    stateDir,
    cwd,
    remarks,
    file: (name) => path.join(stateDir, name),
    start,
    stop: async () => hosts.at(-1)?.stop(),
    async restart(options) {
      await hosts.at(-1)?.stop();
      return start(options);
    },
    async connect() {
      const client = await connectHost(stateDir);
      if (client === null) throw new Error(`No host listens for ${stateDir}.`);
      clients.push(client);
      return client;
    },
    async end() {
      for (const client of clients) client.close();
      for (const host of hosts) await host.stop({ leavePrograms: false });
      rmSync(stateDir, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

export const LIMITS: ProgramLimits = {
  stepMs: null,
  graceMs: 300,
  minFreeBytes: 0,
  outputBytes: 64 * 1024 * 1024,
};

export const PLACE: ProgramPlace = { runId: 'run-1', stepPath: 'candidates#0/trained', start: 1 };

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export function shellSpec(
  command: string,
  changes: Partial<HostProgramSpec> = {},
): HostProgramSpec {
  return {
    argv: ['/bin/sh', '-c', command],
    env: { PATH },
    server: null,
    limits: LIMITS,
    ...changes,
  };
}

export interface RunChanges {
  readonly start?: number;
  readonly stepPath?: string;
  readonly token?: number;
  readonly mayStart?: boolean;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ProgramEvent) => void;
}

export type RunResult = HostMethods['run']['result'];

/** Asks for a program; resolves with the reply. */
export function run(
  client: HostClient,
  spec: HostProgramSpec,
  changes: RunChanges = {},
): Promise<RunResult> {
  const { start = 1, stepPath = PLACE.stepPath, token = 1, mayStart = true } = changes;
  const { signal, onEvent } = changes;
  return client.call(
    'run',
    { place: { ...PLACE, stepPath, start }, token, spec, mayStart },
    {
      ...(signal === undefined ? {} : { signal }),
      ...(onEvent === undefined ? {} : { onEvent }),
    },
  );
}

/** The end of a program that has to have one. */
export async function endOf(result: Promise<RunResult>): Promise<ProgramEnd> {
  const reply = await result;
  if ('absent' in reply) throw new Error('The start is absent.');
  return reply.end;
}

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10);
}

export const untilFile = (file: string): Promise<void> => until(() => existsSync(file));

/** The number that a program wrote to a file, once it is there. */
export async function readPid(file: string): Promise<number> {
  await until(() => existsSync(file) && /^\d+\n$/.test(readFileSync(file, 'utf8')));
  return Number(readFileSync(file, 'utf8'));
}

/** True for a process that is there and no zombie. */
export function lives(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
