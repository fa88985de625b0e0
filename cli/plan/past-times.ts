/**
 * How long the steps of a pipeline took in its past runs.
 *
 * The evidence folder answers first: it lies on this disk, and holds what the server would give. Only where it has no
 * run of the pipeline that has ended is the server asked, if one is named and it is not that of `adit dev`, whose runs are
 * all in the folder. Both are bounded in runs and in time: a plan is worth more now than with every time in it later.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import type { ServerChoice, ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import type { RunView } from '../../core/run-view.js';
import { WORKFLOW_TYPE } from '../../workflows/contract.js';
import { timeOfRunId } from '../run-id.js';
import { readEndedRun, readRecordedEnd } from '../run-record.js';
import { timeKey, type PastTimes } from './expected-time.js';

/** How many runs are read, the newest first, and how many that have not ended are passed over on the way. */
const MAX_RUNS = 10;
const MAX_LOOKS = 50;

/** A record that is larger is passed over: that of a run with 10,000 items has about 3 MB. */
const MAX_RECORD_BYTES = 16 * 1024 * 1024;

/** When the folder is given up, and when the server is. */
const FOLDER_MS = 500;
const SERVER_MS = 2_000;

export interface Past {
  readonly times: PastTimes;
  /** Runs that the times are from. */
  readonly runs: number;
  readonly source: 'evidence' | 'server' | null;
  /** Why nothing, or not all, is known; null when that is not so. */
  readonly remark: string | null;
}

/** Where past runs are looked for. */
export interface PastSource {
  /** That which goes with the server. */
  readonly stateDir: string;
  /** Null where none is named and none of our own runs. */
  readonly server: Pick<ServerChoice, 'address' | 'services'> | null;
  readonly flags: ServerFlags;
}

/** Never throws for what it finds: times are no reason to fail. */
export async function readPast(pipeline: string, source: PastSource): Promise<Past> {
  const views: RunView[] = [];
  const isWhole = await within(FOLDER_MS, (isOver) =>
    readFolder(pipeline, source.stateDir, views, isOver),
  );
  if (views.length > 0 || (isWhole === true && isAlone(source))) {
    const remark =
      isWhole === true ? null : `The evidence folder is slow: ${counted(views.length)} read.`;
    return toPast(views, 'evidence', remark);
  }
  return readServer(pipeline, source);
}

/** True where no run can be that the folder does not know: a server of `adit dev` has this folder alone. */
function isAlone({ server }: PastSource): boolean {
  return server === null || server.services !== undefined;
}

function counted(runs: number): string {
  return runs === 1 ? 'one run was' : `${runs} runs were`;
}

/** The work's result; null when it was not done in time, or failed. The work is told when it is over. */
async function within<T>(
  ms: number,
  work: (isOver: () => boolean) => Promise<T>,
): Promise<T | null> {
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<null>((resolve) => {
    timer = setTimeout(() => {
      isOver = true;
      resolve(null);
    }, ms);
  });
  try {
    return await Promise.race([work(() => isOver), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

async function readFolder(
  pipeline: string,
  stateDir: string,
  views: RunView[],
  isOver: () => boolean,
): Promise<boolean> {
  const evidence = createEvidence(stateDir);
  const named = (await evidence.listRuns().catch(() => [])).flatMap((runId) => {
    const startedAt = startedBy(pipeline, runId);
    return startedAt === null ? [] : [{ runId, startedAt }];
  });
  named.sort((a, b) => b.startedAt.localeCompare(a.startedAt));
  for (const { runId } of named.slice(0, MAX_LOOKS)) {
    if (isOver()) return false;
    if (!(await isModest(evidence.directory(runId)))) continue;
    const ended = await readRecordedEnd(stateDir, runId);
    if (isOver()) return false;
    if (ended?.pipeline === pipeline) views.push(ended);
    if (views.length === MAX_RUNS) break;
  }
  return true;
}

/** True where the record of a run's end is a file that is soon read: nothing interrupts the parsing of a huge one. */
async function isModest(folder: string): Promise<boolean> {
  const found = await stat(path.join(folder, 'run.json')).catch(() => null);
  return found !== null && found.isFile() && found.size <= MAX_RECORD_BYTES;
}

/** When a run was started, by its id; null when it is not one of this pipeline: `a-b` begins with `a-` too. */
function startedBy(pipeline: string, runId: string): string | null {
  const isOwn =
    runId.startsWith(`${pipeline}-`) &&
    /^\d{8}-\d{6}-[a-z2-7]{4}$/.test(runId.slice(pipeline.length + 1));
  return isOwn ? timeOfRunId(runId) : null;
}

async function readServer(
  pipeline: string,
  { stateDir, server, flags }: PastSource,
): Promise<Past> {
  const unknown = (why: string): Past =>
    toPast([], null, `No past run was read from the evidence folder, and ${why}.`);
  if (server === null) return unknown('there is no server');
  const views = await within(SERVER_MS, () => listEnded(pipeline, stateDir, flags)).catch(
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  const named = `the server at ${server.address}`;
  if (views === null) return unknown(`${named} did not answer within ${SERVER_MS / 1_000} s`);
  if (views instanceof Error) return unknown(`${named} does not tell`);
  return toPast(views, 'server', null);
}

async function listEnded(
  pipeline: string,
  stateDir: string,
  flags: ServerFlags,
): Promise<RunView[]> {
  const { openSession } = await import('../session.js');
  const session = await openSession(flags);
  try {
    const ids: string[] = [];
    const found = session.client.workflow.list({
      // By their ids, which also a server has that refused the search attributes.
      query: `WorkflowType="${WORKFLOW_TYPE}" AND WorkflowId STARTS_WITH "${pipeline}-" AND ExecutionStatus IN ("Completed", "Failed", "Canceled")`,
      pageSize: MAX_LOOKS,
    });
    let looks = 0;
    for await (const { workflowId } of found) {
      if (startedBy(pipeline, workflowId) !== null) ids.push(workflowId);
      if (ids.length === MAX_RUNS || (looks += 1) === MAX_LOOKS) break;
    }
    const views = await Promise.all(ids.map((id) => readEndedRun(session, id, [stateDir])));
    return views.filter((view): view is RunView => view?.pipeline === pipeline);
  } finally {
    await session.close();
  }
}

function toPast(views: readonly RunView[], source: Past['source'], remark: string | null): Past {
  const seen = new Set<string>();
  const measured = new Map<string, number[]>();
  for (const view of views) {
    for (const { path: at, uses, status, startedAt, endedAt } of view.steps) {
      if (status !== 'succeeded' || startedAt === undefined || endedAt === undefined) continue;
      // A retry shows again what it took over.
      const once = `${view.roundId} ${at} ${startedAt} ${endedAt}`;
      const ms = Date.parse(endedAt) - Date.parse(startedAt);
      if (seen.has(once) || !(ms >= 0)) continue;
      seen.add(once);
      const key = timeKey({ path: at, uses });
      const known = measured.get(key);
      if (known === undefined) measured.set(key, [ms]);
      else known.push(ms);
    }
  }
  const times = new Map(
    [...measured].map(([key, all]) => [key, { ms: median(all), count: all.length }] as const),
  );
  return { times, runs: views.length, source, remark };
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}
