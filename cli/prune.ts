/**
 * `adit prune`: frees what nothing can need any more in the state folder that belongs to the server.
 *
 * Invariants:
 * 1. Nothing of a round goes while one of its runs is open, younger than the limit, or has a program that may live.
 * 2. A run that the server does not know counts as ended, unless its programs were started for another server.
 * 3. The store stays: which of its files an open run elsewhere still names, nothing here can tell.
 */
import { rm } from 'node:fs/promises';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { WORKFLOW_TYPE } from '../workflows/contract.js';
import type { PruneOptions } from './commands/prune.js';
import { diskUse } from './disk-use.js';
import { reachHosts, type ReachedHost } from './hosts.js';
import { clean, note, paint, print, printJson } from './output.js';
import { readLeavings, type RunLeavings } from './run-leavings.js';
import { describeRun, toRunStatus } from './run-record.js';
import { openSession, type Session } from './session.js';
import { isJsonObject } from '../core/json.js';
import { timeOfRunId } from './run-id.js';

interface Kept {
  readonly runId: string;
  readonly reason: string;
}

interface Removed {
  readonly runId: string;
  readonly bytes: number;
  readonly paths: readonly string[];
}

/** Removes and prints, or with `dryRun` prints what it would remove. */
export async function prune(options: PruneOptions): Promise<void> {
  const session = await openSession(options);
  const { stateDir } = session.settings;
  const reached = await reachHosts(stateDir);
  try {
    const host = reached.hosts.find((candidate) => candidate.stateDir === stateDir) ?? null;
    const removed: Removed[] = [];
    const kept: Kept[] = [];
    for (const round of await readRounds(session, stateDir)) {
      const reason = await whyKept(round, { session, host, olderThanMs: options.olderThan });
      if (reason !== null) {
        kept.push(...round.runs.map(({ runId }) => ({ runId, reason })));
        continue;
      }
      for (const run of round.runs) {
        const paths = options.evidence === true ? [...run.paths, ...run.evidence] : run.paths;
        const bytes = await diskUse(paths);
        if (paths.length === 0) continue;
        if (options.dryRun !== true) {
          for (const path of paths) await rm(path, { recursive: true, force: true });
        }
        removed.push({ runId: run.runId, bytes, paths });
      }
    }
    printPruned(options, { stateDir, removed, kept });
    for (const remark of reached.remarks) note(clean(remark));
  } finally {
    reached.close();
    await session.close();
  }
}

function printPruned(
  { json, dryRun }: PruneOptions,
  {
    stateDir,
    removed,
    kept,
  }: { stateDir: string; removed: readonly Removed[]; kept: readonly Kept[] },
): void {
  const freedBytes = removed.reduce((sum, { bytes }) => sum + bytes, 0);
  if (json === true) {
    printJson({ stateDir, dryRun: dryRun === true, freedBytes, removed, kept });
    return;
  }
  for (const { runId, bytes } of removed) print(`${clean(runId)}  ${size(bytes)}`);
  for (const { runId, reason } of kept) print(paint.dim(`${clean(runId)}  kept: ${clean(reason)}`));
  const verb = dryRun === true ? 'Would free' : 'Freed';
  print(
    `${verb} ${size(freedBytes)} of ${removed.length} runs in ${stateDir}; ${kept.length} kept.`,
  );
}

interface Round {
  readonly roundId: string;
  readonly runs: readonly RunLeavings[];
}

/** The runs that left something here, by round; a run that tells no round is one of its own. */
async function readRounds(session: Session, stateDir: string): Promise<Round[]> {
  const rounds = new Map<string, RunLeavings[]>();
  for (const runId of await createEvidence(stateDir).listRuns()) {
    // Not a run of ours: a stranger's folder is left alone.
    if (timeOfRunId(runId) === null) continue;
    const run = await readLeavings(stateDir, runId, await roundOf(session, stateDir, runId));
    rounds.set(run.roundId, [...(rounds.get(run.roundId) ?? []), run]);
  }
  return [...rounds].map(([roundId, runs]) => ({ roundId, runs }));
}

async function roundOf(session: Session, stateDir: string, runId: string): Promise<string> {
  const ended = await createEvidence(stateDir)
    .readRun(runId)
    .catch(() => null);
  if (typeof ended?.['roundId'] === 'string') return ended['roundId'];
  const memo = (await describeRun(session, runId))?.memo?.['adit'];
  return isJsonObject(memo) && typeof memo['roundId'] === 'string' ? memo['roundId'] : runId;
}

/** Why nothing of a round may go; null when all may. */
async function whyKept(
  { roundId, runs }: Round,
  limits: { session: Session; host: ReachedHost | null; olderThanMs: number },
): Promise<string | null> {
  const { session, host, olderThanMs } = limits;
  const open = await openRounds(session);
  if (open.has(roundId)) return `the run ${open.get(roundId) ?? ''} of its round is open`;
  const programs = host === null ? [] : await host.processes.list();
  for (const run of runs) {
    const description = await describeRun(session, run.runId);
    if (description !== null && toRunStatus(description.status.name) === 'running')
      return `the run ${run.runId} of its round is open`;
    const endedAtMs = description?.closeTime?.getTime() ?? run.changedAtMs;
    if (Date.now() - endedAtMs < olderThanMs)
      return `the run ${run.runId} of its round is too young`;
    if (programs.some((program) => program.runId === run.runId))
      return `the run ${run.runId} of its round has a program that lives`;
    // A host that answers knows every program that lives here.
    if (host === null && run.mayLive)
      return `a program of the run ${run.runId} may live, and no process host says that it does not`;
    const { address, namespace } = session.server;
    const foreign = run.servers.find(
      (server) => server.address !== address || server.namespace !== namespace,
    );
    if (description === null && foreign !== undefined)
      return `the run ${run.runId} belongs to the server ${foreign.address}, namespace ${foreign.namespace}`;
  }
  return null;
}

/** Rounds with an open run, and that run. Asked anew for each round: one may have been tried again meanwhile. */
async function openRounds(session: Session): Promise<ReadonlyMap<string, string>> {
  const open = new Map<string, string>();
  const running = session.client.workflow.list({
    query: `WorkflowType="${WORKFLOW_TYPE}" AND ExecutionStatus="Running"`,
  });
  for await (const { workflowId, memo } of running) {
    const known = memo?.['adit'];
    const roundId = isJsonObject(known) ? known['roundId'] : null;
    open.set(typeof roundId === 'string' ? roundId : workflowId, workflowId);
  }
  return open;
}

/** Bytes for people. */
function size(bytes: number): string {
  for (const [unit, factor] of [
    ['GB', 1e9],
    ['MB', 1e6],
    ['kB', 1e3],
  ] as const) {
    if (bytes >= factor) return `${(bytes / factor).toFixed(1)} ${unit}`;
  }
  return `${bytes} bytes`;
}
