/** `adit logs`: the outputs of a run's programs, from the run directories of this machine, else from its store. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEvidence } from '../adapters/evidence/evidence.js';
import {
  readRecordedStarts,
  readStartState,
  type RecordedStart,
} from '../adapters/processes/recorded-starts.js';
import type { LogsOptions } from './commands/logs.js';
import { CliFailure, EXIT } from './failure.js';
import { findStepPath, isNamed } from './find-step.js';
import { reachHosts, type ReachedHosts } from './hosts.js';
import { listenForInterruption } from './interruption.js';
import { readKnownSecrets } from './known-secrets.js';
import { clean, note } from './output.js';
import { noteHead, printOutput } from './output-printer.js';
import { ownName } from './own-name.js';
import { readLog } from './read-log.js';
import { evidenceRoots, isPlan } from './run-record.js';
import { stepsOf } from './run-terms.js';
import { createRunWatch, type RunWatch } from './run-watch.js';
import { readSettings } from './session.js';
import { storedLogs, type StoredLog } from './stored-logs.js';

const LOOK_EVERY_MS = 500;

/**
 * Prints the outputs. Throws CliFailure RUN_NOT_FOUND, STEP_NOT_FOUND, STEP_AMBIGUOUS, START_NOT_FOUND, OUTPUT_NONE,
 * USAGE.
 */
export async function showLogs(
  runId: string,
  step: string | undefined,
  options: LogsOptions,
): Promise<void> {
  if (step === undefined && options.start !== undefined) {
    throw new CliFailure('USAGE', '--start picks a start of one step, and no step is named.', {
      hint: `For example: ${ownName()} logs ${runId} STEP --start 1`,
      exitCode: EXIT.usage,
    });
  }
  const settings = await readSettings();
  const secrets = await readKnownSecrets(settings);
  for (const file of secrets.unreadable)
    note(`${file} cannot be read: what it holds is not masked.`);
  const interruption = listenForInterruption(() => '');
  const hosts = await reachHosts(settings.stateDir);
  const run = createRunWatch(options, runId);
  const request: LogRequest = {
    runId,
    step,
    start: options.start,
    raw: options.raw === true,
    roots: evidenceRoots(settings.stateDir),
    secrets: secrets.literals,
    hosts,
    run,
    signal: interruption.signal,
  };
  try {
    if (options.follow === true) await follow(request);
    else await printWhatIsThere(request);
  } catch (error) {
    throw interruption.signal.aborted ? interruption.signal.reason : error;
  } finally {
    interruption.dispose();
    hosts.close();
    await run.close();
  }
}

interface LogRequest {
  readonly runId: string;
  readonly step: string | undefined;
  readonly start: number | 'all' | undefined;
  readonly raw: boolean;
  readonly roots: readonly string[];
  readonly secrets: readonly string[];
  readonly hosts: ReachedHosts;
  readonly run: RunWatch;
  readonly signal: AbortSignal;
}

async function printWhatIsThere(request: LogRequest): Promise<void> {
  const { step, start: wanted } = request;
  const starts = await findStarts(request);
  if (step === undefined) {
    if (starts.length === 0) await printStored(await findStored(request), request);
    for (const start of starts) await printStart(start, request, { head: true, follow: false });
    return;
  }
  const ran = starts.map(({ stepPath }) => stepPath);
  if (ran.some((stepPath) => isNamed(stepPath, step))) {
    const stepPath = findStepPath(step, unique(ran), request.runId);
    const chosen = choose(
      starts.filter((start) => start.stepPath === stepPath),
      wanted,
      request,
    );
    const head = wanted === 'all';
    for (const start of chosen) await printStart(start, request, { head, follow: false });
    return;
  }
  const stored = await findStored(request, unique(ran));
  const stepPath = findStepPath(
    step,
    unique([...ran, ...stored.map((log) => log.stepPath)]),
    request.runId,
  );
  await printStored(
    stored.filter((log) => log.stepPath === stepPath),
    request,
  );
}

/** Prints what is there and what comes, one program after the other, until nothing more can come. */
async function follow(request: LogRequest): Promise<void> {
  const { step, signal } = request;
  const shown = new Set<string>();
  let stepPath: string | null = null;
  for (;;) {
    // Asked before the folders are read: a program that was started before the end is then seen.
    const more = await mayStartMore(request, stepPath);
    const starts = await findStarts(request);
    if (step !== undefined && stepPath === null) {
      stepPath = await findFollowed(step, starts, request);
      if (stepPath === null && !more) return printWhatIsThere(request);
    }
    if (step === undefined || stepPath !== null) {
      const fresh = starts.filter(
        (start) => !shown.has(start.root) && (step === undefined || start.stepPath === stepPath),
      );
      const isFirst = shown.size === 0 && step !== undefined;
      const chosen = isFirst && fresh.length > 0 ? choose(fresh, request.start, request) : fresh;
      if (isFirst) for (const { root } of fresh) shown.add(root);
      for (const start of chosen) {
        const head = step === undefined || request.start === 'all' || !isFirst;
        shown.add(start.root);
        await printStart(start, request, { head, follow: true });
      }
      if (typeof request.start === 'number' && chosen.length > 0) return;
      if (chosen.length > 0) continue;
    }
    if (!more) return shown.size === 0 ? printWhatIsThere(request) : undefined;
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}

/** The path of a step that is to be followed; null while no step of that name has begun. */
async function findFollowed(
  step: string,
  starts: readonly RecordedStart[],
  { run, runId }: LogRequest,
): Promise<string | null> {
  const ran = unique(starts.map(({ stepPath }) => stepPath));
  if (ran.some((stepPath) => isNamed(stepPath, step))) return findStepPath(step, ran, runId);
  const known = await run.paths();
  return known.length === 0 ? null : findStepPath(step, known, runId);
}

async function printStart(
  start: RecordedStart,
  request: LogRequest,
  how: { readonly head: boolean; readonly follow: boolean },
): Promise<void> {
  if (how.head) noteHead(start);
  const isOver = how.follow ? () => isProgramOver(start, request) : async () => true;
  await printOutput(readLog(start.log, isOver, request.signal), {
    stream: process.stdout,
    secrets: request.secrets,
    raw: request.raw,
  });
}

async function printStored(stored: readonly StoredLog[], request: LogRequest): Promise<void> {
  for (const { stepPath, file } of stored) {
    note(`── ${clean(stepPath)}, from the store ──`);
    await printOutput(
      readLog(file, async () => true, request.signal),
      {
        stream: process.stdout,
        secrets: request.secrets,
        raw: request.raw,
      },
    );
  }
}

async function findStarts({ roots, runId }: LogRequest): Promise<RecordedStart[]> {
  const known = await knownPaths(roots, runId);
  const found = await Promise.all(roots.map((root) => readRecordedStarts(root, runId, known)));
  return found.flat().sort((a, b) => a.startedAtMs - b.startedAtMs);
}

/** Paths of the run's steps, as its evidence tells them. */
async function knownPaths(roots: readonly string[], runId: string): Promise<Set<string>> {
  const known = new Set<string>();
  for (const root of roots) {
    const evidence = createEvidence(root);
    const plan = await evidence.readPlan(runId).catch(() => null);
    if (isPlan(plan)) for (const { path: planned } of stepsOf(plan.steps, '')) known.add(planned);
    for (const record of await evidence.readSteps(runId).catch(() => [])) {
      if (typeof record['path'] === 'string') known.add(record['path']);
    }
  }
  return known;
}

/** The outputs in the store. Throws CliFailure when there is nothing of this run at all, not even elsewhere. */
async function findStored(request: LogRequest, ran: readonly string[] = []): Promise<StoredLog[]> {
  const { roots, runId, run } = request;
  const stored = await storedLogs(roots, runId, run);
  if (stored.length > 0 || ran.length > 0) return stored;
  if ((await knownPaths(roots, runId)).size === 0 && !(await run.isKnown())) {
    throw new CliFailure(
      'RUN_NOT_FOUND',
      `There is no run "${runId}": no server knows it, and no state folder has it.`,
      { hint: `\`${ownName()} list\` shows the runs. Looked in: ${roots.join(', ')}` },
    );
  }
  throw new CliFailure('OUTPUT_NONE', `No program of the run "${runId}" has an output here.`, {
    hint: `\`${ownName()} show ${runId}\` tells its steps; outputs lie on the machine that ran them.`,
  });
}

/** The starts of one step that were asked for. */
function choose(
  starts: readonly RecordedStart[],
  wanted: LogRequest['start'],
  { runId, step }: LogRequest,
): readonly RecordedStart[] {
  if (wanted === 'all') return starts;
  if (wanted === undefined) return starts.slice(-1);
  const found = starts.filter(({ start }) => start === wanted);
  if (found.length > 0) return found;
  throw new CliFailure(
    'START_NOT_FOUND',
    `The step "${step}" of the run "${runId}" has no start ${wanted} here.`,
    {
      hint: `It has: ${starts.map(({ start }) => start).join(', ')}.`,
      exitCode: EXIT.usage,
    },
  );
}

/** Whether this start's program has ended: by its record, else by the host of its state folder. */
async function isProgramOver(start: RecordedStart, request: LogRequest): Promise<boolean> {
  const state = await readStartState(start);
  if (state === 'ended' || state === 'alive') return state === 'ended';
  const host = request.hosts.hosts.find(
    ({ stateDir }) => path.resolve(stateDir) === path.resolve(start.stateDir),
  );
  // A host that has gone tells nothing; what it leaves on record does.
  const programs = (await host?.processes.list().catch(() => null)) ?? null;
  const isListed = programs?.some(
    (program) =>
      program.runId === start.runId &&
      program.stepPath === start.stepPath &&
      program.start === start.start,
  );
  if (isListed === true) return false;
  if (state === 'elsewhere') return isListed === false;
  // It is being started, or was given up before anything of it ran.
  const isSuperseded = (await findStarts(request)).some(
    (other) => other.stepPath === start.stepPath && other.start > start.start,
  );
  return isSuperseded || !(await mayStartMore(request, start.stepPath));
}

/** Whether more output may come: the run (or its step) is under way; without a server, a host has a program of it. */
async function mayStartMore(request: LogRequest, stepPath: string | null): Promise<boolean> {
  const { hosts, run, runId } = request;
  const known = await run.isUnderWay(stepPath);
  if (known !== null) return known;
  for (const { processes } of hosts.hosts) {
    const programs = await processes.list().catch(() => []);
    const isOurs = programs.some(
      (program) => program.runId === runId && (stepPath === null || program.stepPath === stepPath),
    );
    if (isOurs) return true;
  }
  return false;
}

function unique(paths: readonly string[]): string[] {
  return [...new Set(paths)];
}
