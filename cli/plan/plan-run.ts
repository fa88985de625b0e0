/** `adit plan`: what a run of a file would do, or a retry of a run. Starts, sends and writes nothing. */
import type { Settings } from '../../adapters/settings/settings.js';
import { readHold } from '../../adapters/evidence/effect-hold.js';
import { canonicalJson } from '../../core/canonical-json.js';
import { findStepPath } from '../../core/plan-paths.js';
import type { Plan } from '../../core/plan.js';
import type { PlanOptions } from '../commands/plan.js';
import { holdWords } from '../effect-hold.js';
import { CliFailure, EXIT } from '../failure.js';
import { unknownRun } from '../follow-run.js';
import {
  bindPlan,
  loadPipeline,
  readGivenInputs,
  type GivenInputs,
  type LoadedPipeline,
} from '../load-plan.js';
import { note, printJson } from '../output.js';
import { readRecordedRetry, readRetry, type Retry } from '../retry-basis.js';
import { hasEffect } from '../round-lock.js';
import { evidenceRoots } from '../run-record.js';
import { readRunTerms } from '../run-terms.js';
import { openSession, readServedSettings } from '../session.js';
import { expectedTime, gpuHours } from './expected-time.js';
import { readPast } from './past-times.js';
import { toPlanJson, type PlannedRun } from './plan-json.js';
import { previewPlan } from './preview-plan.js';
import { printPlannedRun } from './print-planned-run.js';
import { runAnew } from './run-anew.js';
import type { PreviewOptions } from './walk.js';

export async function planRun(file: string | undefined, options: PlanOptions): Promise<void> {
  assertUsage(file, options);
  const loaded = file === undefined ? null : await loadPipeline(file);
  if (loaded !== null && loaded.warnings !== '') note(`${loaded.warnings}\n`);
  const settings = await readServedSettings(options);
  const planned =
    options.retry === undefined
      ? await planFile(loaded, settings, options)
      : await planRetry(options.retry, loaded, settings, options);
  if (options.json === true) printJson(toPlanJson(planned));
  else printPlannedRun(planned);
}

function assertUsage(file: string | undefined, options: PlanOptions): void {
  const hasInputs = options.input.length > 0 || options.inputsFile !== undefined;
  const problem =
    file === undefined && options.retry === undefined
      ? 'Name a pipeline file, or a run by --retry.'
      : options.retry === undefined && options.from !== undefined
        ? '--from is for --retry.'
        : options.retry !== undefined && options.until !== undefined
          ? '--until is not for --retry: a retry goes to the end.'
          : file === undefined && hasInputs
            ? 'A retry has the inputs of its run; name the file to compare others with them.'
            : null;
  if (problem === null) return;
  throw new CliFailure('USAGE', problem, {
    hint: '`adit plan --help` has examples.',
    exitCode: EXIT.usage,
  });
}

/** Nobody is asked for the hotkey: a plan needs no key. */
function networkOf({ coordinatorUrl }: Settings): Plan['network'] {
  return { coordinator: coordinatorUrl ?? '', hotkey: '' };
}

async function planFile(
  loaded: LoadedPipeline | null,
  settings: Settings,
  options: PlanOptions,
): Promise<PlannedRun> {
  if (loaded === null) throw new Error('There is no file.');
  const plan = bindPlan(loaded, readGivenInputs(options), networkOf(settings));
  const nowMs = Date.now();
  const { until: name } = readRunTerms(
    options.until === undefined ? {} : { until: options.until },
    plan,
    nowMs,
  );
  const until = name === undefined ? null : findStepPath(plan, name);
  return describe(plan, settings, options, {
    file: loaded.file,
    retry: null,
    preview: { taskQueue: settings.taskQueue, nowMs, ...(until === null ? {} : { until }) },
  });
}

async function planRetry(
  runId: string,
  loaded: LoadedPipeline | null,
  settings: Settings,
  options: PlanOptions,
): Promise<PlannedRun> {
  const { retry, source, remark } = await findRetry(runId, settings, options);
  const { plan, roundId, before, state } = retry;
  const preview: PreviewOptions = { taskQueue: settings.taskQueue, nowMs: Date.now() };
  const file = loaded?.file ?? null;
  const told = { runId, roundId, source, remark };
  if (loaded !== null) {
    const anew = bindPlan(loaded, inputsLike(plan, loaded, options), plan.network);
    const change = findChange(plan, anew);
    if (change !== null) {
      const planned = await describe(anew, settings, options, { file, retry: told, preview });
      return { ...planned, steps: runAnew(planned.steps, change) };
    }
  }
  const target = options.from === undefined ? null : findStepPath(plan, options.from);
  return describe(plan, settings, options, {
    file,
    retry: told,
    preview: {
      ...preview,
      retry: { roundId, before, after: state, target, isExact: source === 'worker' },
    },
  });
}

/** Those of the command, else those that the run had, where the file still declares them. */
function inputsLike(plan: Plan, { pipeline }: LoadedPipeline, options: PlanOptions): GivenInputs {
  const declared = new Set(pipeline.inputs.map(({ name }) => name));
  const before = Object.entries(plan.inputs).filter(([name]) => declared.has(name));
  const inputs = new Map(readGivenInputs(options));
  for (const [name, value] of before) if (!inputs.has(name)) inputs.set(name, { value });
  return inputs;
}

/** Why a retry is not what the file asks for; null when it is. */
function findChange(before: Plan, now: Plan): 'source_changed' | 'input_changed' | null {
  const stepsOf = ({ pipeline, steps, outputs }: Plan): string =>
    JSON.stringify({ pipeline, steps, outputs });
  if (before.sourceSha256 !== now.sourceSha256 || stepsOf(before) !== stepsOf(now))
    return 'source_changed';
  return canonicalJson(before.inputs) === canonicalJson(now.inputs) ? null : 'input_changed';
}

/** From a worker, which knows all; else from the evidence folders. */
async function findRetry(
  runId: string,
  settings: Settings,
  options: PlanOptions,
): Promise<{
  readonly retry: Retry;
  readonly source: 'worker' | 'evidence';
  readonly remark: string | null;
}> {
  try {
    const session = await openSession(options);
    try {
      const retry = await readRetry(session, runId, options.from);
      return { retry, source: 'worker', remark: null };
    } finally {
      await session.close();
    }
  } catch (error) {
    if (!isSilence(error)) throw error;
    const roots = evidenceRoots(settings.stateDir);
    const retry = await readRecordedRetry(roots, runId, options.from);
    if (retry === null) throw error.code === 'SERVER_NONE' ? unknownRun(runId, null) : error;
    const remark = `This is from the evidence folder; \`adit retry\` asks a worker. ${error.message}`;
    return { retry, source: 'evidence', remark };
  }
}

/** No server, or no worker, answers. */
function isSilence(error: unknown): error is Error & { code: string } {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  return code === 'SERVER_NONE' || code === 'SERVER_UNREACHABLE' || code === 'WORKER_SILENT';
}

async function describe(
  plan: Plan,
  settings: Settings,
  options: PlanOptions,
  about: Pick<PlannedRun, 'file' | 'retry'> & { readonly preview: PreviewOptions },
): Promise<PlannedRun> {
  const past = await readPast(plan.pipeline, settings.stateDir, options);
  const steps = previewPlan(plan, about.preview);
  const hold = hasEffect(plan) ? await readHold(settings.stateDir).catch(() => null) : null;
  return {
    plan,
    file: about.file,
    retry: about.retry,
    taskQueue: settings.taskQueue,
    steps,
    past,
    time: expectedTime(steps, past.times),
    gpuHours: gpuHours(steps, past.times),
    hold: hold === null ? null : holdWords(hold),
  };
}
