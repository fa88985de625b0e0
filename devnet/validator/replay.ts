/**
 * One replay of a submission, in host mode: the checks before cloning, the preparation, setup and benchmark, and the
 * outcome table (protocol 4.3 to 4.6), in that order. The miner's claimed metrics are never looked at.
 */
import { mkdtemp, open, realpath, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { startAwakeTimer } from './awake-timer.js';
import { fetchArtifact, isArtifactRequired } from './artifact.js';
import { makeCheckout } from './checkout.js';
import { runCommand, type Command, type CommandResult } from './command.js';
import { metricFromResult, metricFromText, ResultUnusable } from './extraction.js';
import { placeHeldout } from './heldout.js';
import { checkPatchSurface, isBlank } from './patch-surface.js';
import { LOG_CHARACTERS, redact, shorten } from './replay-log.js';
import type { ReplayJob } from './job.js';

type ReplayStatus = 'accepted' | 'rejected' | 'error';

export interface ReplayOutcome {
  readonly status: ReplayStatus;
  readonly observedMetrics: Readonly<Record<string, number>>;
  readonly notes: string;
  readonly log: string;
}

export interface ReplaySettings {
  /** Folder for checkouts; each replay makes one in it and removes it. */
  readonly folder: string;
  /** PEM text of certificates to trust for artifacts, besides the usual ones. */
  readonly ca: string | undefined;
  /** Aborted when the validator ends: the running program's group is killed. */
  readonly signal: AbortSignal;
}

const REJECTION = 'validator_rejection=';
const MAX_RESULT_BYTES = 10 * 1024 * 1024;
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Replays a job and returns its outcome. Throws `signal.reason` when aborted, and what the engine does not catch:
 * a metric that is null, a list or an object.
 */
export async function replay(job: ReplayJob, settings: ReplaySettings): Promise<ReplayOutcome> {
  const rejection = checkPatchSurface(job.patch, job);
  if (rejection !== undefined) {
    const line = `${REJECTION}${rejection}`;
    return { status: 'rejected', observedMetrics: {}, notes: line, log: `${line}\n` };
  }
  const parts: string[] = [];
  const folder = await mkdtemp(path.join(settings.folder, 'replay-'));
  // One deadline for preparation, setup and benchmark together.
  const budget = startAwakeTimer(job.timeBudgetSeconds * 1_000, 'the time budget was spent');
  const limits: Limits = { deadline: budget.over, signal: settings.signal };
  let environment: Record<string, string> = { ...job.benchmarkEnvironment };
  const end = (outcome: Outcome): ReplayOutcome => ({
    status: outcome.status,
    observedMetrics: outcome.observedMetrics ?? {},
    notes: redact(outcome.notes, environment),
    log: shorten(redact(parts.join(''), environment), LOG_CHARACTERS),
  });
  const log = (text: string): void => {
    parts.push(text.endsWith('\n') ? text : `${text}\n`);
  };
  try {
    const checkout = path.join(folder, 'checkout');
    try {
      environment = await prepare(job, { checkout, home: folder, ca: settings.ca }, limits, log);
    } catch (error) {
      settings.signal.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      log(reason);
      return end({ status: 'error', notes: `Replay preparation failed: ${reason}` });
    }
    return end(await execute(job, { checkout, environment }, limits, log));
  } finally {
    budget.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

type Limits = Pick<Command, 'deadline' | 'signal'>;

interface Outcome {
  readonly status: ReplayStatus;
  readonly observedMetrics?: Readonly<Record<string, number>>;
  readonly notes: string;
}

/** Makes the checkout ready and returns the benchmark environment. Anything thrown here is a failed preparation. */
async function prepare(
  job: ReplayJob,
  place: { readonly checkout: string; readonly home: string; readonly ca: string | undefined },
  limits: Limits,
  log: (text: string) => void,
): Promise<Record<string, string>> {
  await makeCheckout(job, place, limits, log);
  const environment = await placeHeldout(job.benchmarkEnvironment, place.checkout);
  const signal = AbortSignal.any([limits.signal, limits.deadline]);
  signal.throwIfAborted();
  const required = isArtifactRequired(isBlank(job.patch), environment);
  const download = { job, checkout: place.checkout, ca: place.ca, signal };
  return { ...environment, ...(await fetchArtifact(download, required)) };
}

/** Setup, benchmark and the outcome table. */
async function execute(
  job: ReplayJob,
  place: { readonly checkout: string; readonly environment: Readonly<Record<string, string>> },
  limits: Limits,
  log: (text: string) => void,
): Promise<Outcome> {
  const shell = async (command: string): Promise<CommandResult> => {
    const result = await runCommand({
      file: '/bin/sh',
      args: ['-c', command],
      cwd: place.checkout,
      environment: { ...cleanEnvironment(place.checkout), ...place.environment },
      ...limits,
    });
    log(`$ ${command}\n${result.output}`);
    return result;
  };
  const budget = `the time budget of ${job.timeBudgetSeconds} s`;
  if (!isBlank(job.setupCommand)) {
    const setup = await shell(job.setupCommand);
    if (setup.timedOut) {
      return { status: 'error', notes: `Setup ran past ${budget}.` };
    }
    if (setup.exitCode !== 0) {
      return { status: 'error', notes: `Setup failed with exit code ${setup.exitCode}.` };
    }
  }
  const benchmark = await shell(job.benchmarkCommand);
  if (benchmark.timedOut) {
    return { status: 'error', notes: `The benchmark ran past ${budget}.` };
  }
  return decide(job, benchmark, place);
}

/** The outcome of a benchmark that ended by itself. A result file is judged before the exit code. */
async function decide(
  job: ReplayJob,
  benchmark: CommandResult,
  place: { readonly checkout: string; readonly environment: Readonly<Record<string, string>> },
): Promise<Outcome> {
  const output = redact(benchmark.output, place.environment);
  let primary: number | undefined;
  let secondary: number | undefined;
  if (job.resultPath === undefined) {
    primary = metricFromText(output, job.metricName);
    secondary = secondaryMetric(job, (name) => metricFromText(output, name));
  } else {
    try {
      const result = await readResult(place.checkout, job.resultPath);
      primary = metricFromResult(result, job.metricName);
      if (primary === undefined) {
        throw new ResultUnusable(`result file does not hold the metric ${job.metricName}`);
      }
      secondary = secondaryMetric(job, (name) => metricFromResult(result, name));
    } catch (error) {
      if (error instanceof ResultUnusable) {
        return { status: 'error', notes: `The benchmark's result is unusable: ${error.message}.` };
      }
      throw error;
    }
  }
  if (benchmark.exitCode !== 0 || primary === undefined) {
    const how =
      benchmark.exitCode === 0
        ? 'printed no metric'
        : `failed with exit code ${benchmark.exitCode}`;
    const rejected = output.includes(REJECTION);
    return { status: rejected ? 'rejected' : 'error', notes: `The benchmark ${how}.` };
  }
  if (job.secondaryMetricName === undefined) {
    return {
      status: 'accepted',
      observedMetrics: { [job.metricName]: primary },
      notes: 'Replay succeeded.',
    };
  }
  if (secondary === undefined) {
    return { status: 'error', notes: `The benchmark gave no ${job.secondaryMetricName}.` };
  }
  const observedMetrics = { [job.metricName]: primary, [job.secondaryMetricName]: secondary };
  return { status: 'accepted', observedMetrics, notes: 'Replay succeeded.' };
}

function secondaryMetric(
  job: ReplayJob,
  read: (name: string) => number | undefined,
): number | undefined {
  return job.secondaryMetricName === undefined ? undefined : read(job.secondaryMetricName);
}

/** The result file's text, from inside the checkout only. */
async function readResult(checkout: string, resultPath: string): Promise<string> {
  try {
    const root = await realpath(checkout);
    const file = await realpath(path.resolve(root, resultPath));
    if (!file.startsWith(`${root}${path.sep}`)) {
      throw new ResultUnusable(`result file ${resultPath} lies outside the checkout`);
    }
    // Opening a pipe without a writer would wait for ever.
    if (!(await stat(file)).isFile()) {
      throw new ResultUnusable(`result file ${resultPath} is not a regular file`);
    }
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      if (size > MAX_RESULT_BYTES) {
        throw new ResultUnusable(`result file ${resultPath} has ${size} bytes`);
      }
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
        await handle.readFile(),
      );
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof ResultUnusable) {
      throw error;
    }
    if (error instanceof Error && 'code' in error) {
      const absent = error.code === 'ENOENT';
      throw new ResultUnusable(
        `result file ${resultPath} ${absent ? 'not found' : `cannot be read (${String(error.code)})`}`,
      );
    }
    throw error;
  }
}

/** What a program of the task sees besides the benchmark environment. */
function cleanEnvironment(checkout: string): Record<string, string> {
  return {
    PATH: SYSTEM_PATH,
    HOME: checkout,
    LANG: 'C.UTF-8',
    LC_ALL: 'C.UTF-8',
    PYTHONNOUSERSITE: '1',
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
  };
}
