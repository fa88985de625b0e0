/** One machine of a fault test: a state folder, the built worker and host on it, and runs that are looked at from outside. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection, WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, TerminatedFailure } from '@temporalio/common';
import { StepError } from '../../core/error.js';
import type { HostInfo, ProgramFiles } from '../../core/host-protocol.js';
import type { Plan } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import { connectHost } from '../../host/client.js';
import { programFiles } from '../../host/program-files.js';
import { isEntry } from '../../host/program-index.js';
import { STATE_QUERY, WORKFLOW_TYPE, type RunArgs } from '../../workflows/contract.js';
import { endProcessesOf } from './in-folder.js';
import { startProgram, type Program } from './local-network.js';
import { until } from './until.js';
import type { Witness } from './witness.js';

export interface SiteOptions {
  readonly temporal: { readonly address: string; readonly namespace: string };
  readonly env?: NodeJS.ProcessEnv;
  /** Where the state folder is made; absent: inside the site's own temporary folder. */
  readonly stateParent?: string;
}

export interface StartOptions {
  /** Another build's `dist`. */
  readonly dist?: string;
  /** A process group of its own. */
  readonly group?: boolean;
  readonly within?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

export interface FaultSite {
  /** For journals and what else the test writes; not the state folder. */
  readonly folder: string;
  readonly stateDir: string;
  readonly taskQueue: string;
  readonly client: Client;
  readonly temporal: SiteOptions['temporal'];
  startWorker(options?: StartOptions): Promise<Program>;
  startHost(options?: StartOptions): Promise<Program>;
  /** The host that listens now; null when none does. */
  hostInfo(): Promise<HostInfo | null>;
  startRun(plan: Plan): Promise<FaultRun>;
  /** Index entries of programs that the host has not seen the end of. */
  indexEntries(): Promise<string[]>;
  /** Throws unless no process, lock or index entry is left of the witness. */
  assertNothingLeft(witness: Witness): Promise<void>;
  /** Ends every process of the site and removes its folders. */
  close(): Promise<void>;
}

export interface RunOutcome {
  readonly status: 'succeeded' | 'stopped' | 'failed' | 'cancelled' | 'terminated';
  readonly code: string | undefined;
  readonly message: string | undefined;
  /** Null for a run that was cancelled or terminated. */
  readonly view: RunView | null;
}

/** An activity that the server waits for. */
export interface PendingActivity {
  readonly activityId: string;
  readonly attempt: number;
  /** `STARTED`, `PAUSED` and so on. */
  readonly state: string;
  readonly worker: string;
  readonly lastStartedMs: number;
  readonly heartbeatMs: number;
  readonly heartbeat: string;
}

export interface FaultRun {
  readonly id: string;
  readonly handle: WorkflowHandle;
  outcome(): Promise<RunOutcome>;
  view(): Promise<RunView>;
  pending(activityId?: string): Promise<PendingActivity | undefined>;
  /** The highest number of an attempt that the server has recorded as started. */
  lastAttempt(): Promise<number>;
  files(start?: number, stepPath?: string): ProgramFiles;
  /** What the program of a start has written so far. */
  output(start?: number, stepPath?: string): Promise<string>;
  /** Waits until the witness has printed a line. */
  reached(line: number, start?: number, stepPath?: string): Promise<void>;
  /** Waits until an attempt of the activity, at least this one, follows the program: the server has its heartbeat. */
  followed(attempt: number, activityId?: string): Promise<PendingActivity>;
}

export async function openSite(options: SiteOptions): Promise<FaultSite> {
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-fault-'));
  const stateDir = path.join(options.stateParent ?? folder, 'state');
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const taskQueue = `fault-${randomBytes(4).toString('hex')}`;
  const { PATH, HOME } = process.env;
  const env: NodeJS.ProcessEnv = {
    PATH,
    HOME,
    ADIT_STATE_DIR: stateDir,
    ADIT_TASK_QUEUE: taskQueue,
    ADIT_MIN_FREE_BYTES: '1000000',
    // Who takes over from a worker that was killed must not wait for it.
    ADIT_STICKY_SECONDS: '2',
    TEMPORAL_ADDRESS: options.temporal.address,
    TEMPORAL_NAMESPACE: options.temporal.namespace,
    ...options.env,
  };
  const connection = await Connection.connect({ address: options.temporal.address });
  const client = new Client({ connection, namespace: options.temporal.namespace });
  const indexFolder = path.join(stateDir, 'host', 'programs');
  const indexNames = (): Promise<string[]> => readdir(indexFolder).catch(() => []);
  const start = (file: string, args: string[], given: StartOptions = {}): Promise<Program> =>
    startProgram(file, args, { ...env, ...given.env }, given);
  return {
    folder,
    stateDir,
    taskQueue,
    client,
    temporal: options.temporal,
    startWorker: (given) => start('worker/main.js', [], given),
    startHost: (given) => start('host/main.js', ['--state-dir', stateDir], given),
    async hostInfo() {
      const host = await connectHost(stateDir);
      if (host === null) return null;
      try {
        return await host.call('info', {});
      } catch (error) {
        if (error instanceof StepError && error.code === 'HOST_UNAVAILABLE') return null;
        throw error;
      } finally {
        host.close();
      }
    },
    async startRun(plan) {
      const runId = `fault-${randomBytes(6).toString('hex')}`;
      const args: RunArgs = { plan, roundId: runId, searchAttributes: true };
      const handle = await client.workflow.start(WORKFLOW_TYPE, {
        taskQueue,
        workflowId: runId,
        args: [args],
      });
      return observeRun(handle, client, stateDir);
    },
    indexEntries: async () => (await indexNames()).filter(isEntry),
    async assertNothingLeft(witness) {
      const alive = await witness.processes();
      if (alive.length > 0) throw new Error(`Processes are left: ${await describePids(alive)}`);
      if (!(await witness.isUnlocked())) throw new Error('The lock of the witness is held.');
      await until(
        'the index of living programs to be empty',
        async () => {
          const names = await indexNames();
          return !names.some(isEntry);
        },
        5_000,
      );
    },
    async close() {
      await connection.close();
      await endProcessesOf(folder);
      await endProcessesOf(stateDir);
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

async function describePids(pids: readonly number[]): Promise<string> {
  const lines = await Promise.all(
    pids.map(async (pid) => {
      const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return `${pid} ${text.replaceAll('\0', ' ').slice(0, 200)}`;
    }),
  );
  return lines.join('; ');
}

function observeRun(handle: WorkflowHandle, client: Client, stateDir: string): FaultRun {
  const files = (start = 1, stepPath = 'program'): ProgramFiles =>
    programFiles(stateDir, { runId: handle.workflowId, stepPath, start });
  const output = (start = 1, stepPath = 'program'): Promise<string> =>
    readFile(files(start, stepPath).log, 'utf8').catch(() => '');
  const pending = async (activityId = 'program'): Promise<PendingActivity | undefined> => {
    const { raw } = await handle.describe();
    const found = raw.pendingActivities?.find((each) => each.activityId === activityId);
    if (found === undefined) return undefined;
    return {
      activityId,
      attempt: found.attempt ?? 0,
      state: STATES[found.state ?? 0] ?? String(found.state),
      worker: found.lastWorkerIdentity ?? '',
      lastStartedMs: toMs(found.lastStartedTime),
      heartbeatMs: toMs(found.lastHeartbeatTime),
      heartbeat: Buffer.from(found.heartbeatDetails?.payloads?.[0]?.data ?? []).toString(),
    };
  };
  return {
    id: handle.workflowId,
    handle,
    outcome: () => outcomeOf(handle),
    view: () => handle.query<RunView>(STATE_QUERY),
    pending,
    async lastAttempt() {
      const { events } = await handle.fetchHistory();
      const attempts = events?.map((each) => each.activityTaskStartedEventAttributes?.attempt ?? 0);
      return Math.max(0, ...(attempts ?? []));
    },
    files,
    output,
    async reached(line, start, stepPath) {
      await until(`line ${line} of start ${start ?? 1}`, async () =>
        (await output(start, stepPath)).includes(`line ${line} `),
      );
    },
    followed: (attempt, activityId) =>
      until(`attempt ${attempt} to follow the program`, async () => {
        const found = await pending(activityId);
        if (found === undefined) return undefined;
        const alive = found.heartbeatMs > found.lastStartedMs && found.lastStartedMs > 0;
        return found.attempt >= attempt && alive ? found : undefined;
      }),
  };
}

async function outcomeOf(handle: WorkflowHandle): Promise<RunOutcome> {
  try {
    const view = (await handle.result()) as RunView;
    const { status, error } = view;
    if (status !== 'succeeded' && status !== 'stopped') throw new Error(`It ended as ${status}.`);
    return { status, code: error?.code, message: error?.message, view };
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    const { cause } = error;
    if (cause instanceof CancelledFailure || cause instanceof TerminatedFailure) {
      const status = cause instanceof CancelledFailure ? 'cancelled' : 'terminated';
      return { status, code: undefined, message: cause.message, view: null };
    }
    if (!(cause instanceof ApplicationFailure)) throw error;
    const view = (cause.details?.[0] ?? null) as RunView | null;
    return { status: 'failed', code: view?.error?.code, message: view?.error?.message, view };
  }
}

/** By their number in `temporal.api.enums.v1.PendingActivityState`. */
const STATES = [
  'UNSPECIFIED',
  'SCHEDULED',
  'STARTED',
  'CANCEL_REQUESTED',
  'PAUSED',
  'PAUSE_REQUESTED',
];

function toMs(
  time: { seconds?: unknown; nanos?: number | null | undefined } | null | undefined,
): number {
  return Number(time?.seconds ?? 0) * 1_000 + Math.floor((time?.nanos ?? 0) / 1e6);
}
