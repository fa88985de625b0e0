/** `adit plan --retry`: what a retry would do, or why only a new run can do what is asked. */
import type { Settings } from '../../adapters/settings/settings.js';
import { canonicalJson } from '../../core/canonical-json.js';
import { findStepPath } from '../../core/plan-paths.js';
import type { Plan } from '../../core/plan.js';
import type { PlanOptions } from '../commands/plan.js';
import { unknownRun } from '../follow-run.js';
import { bindPlan, readGivenInputs, type GivenInputs, type LoadedPipeline } from '../load-plan.js';
import { readRecordedRetry, readRetry, type Retry } from '../retry-basis.js';
import { evidenceRoots } from '../run-record.js';
import { openSession, type Served } from '../session.js';
import { describePlan } from './describe-plan.js';
import type { PlannedRun } from './plan-json.js';
import { runAnew } from './run-anew.js';
import type { PreviewOptions } from './walk.js';

export async function planRetry(
  runId: string,
  loaded: LoadedPipeline | null,
  served: Served,
  options: PlanOptions,
): Promise<PlannedRun> {
  const { settings } = served;
  const { retry, source, remark } = await findRetry(runId, settings, options);
  const { plan, roundId, before, state } = retry;
  const preview: PreviewOptions = { taskQueue: settings.taskQueue, nowMs: Date.now() };
  const file = loaded?.file ?? null;
  const told = { runId, roundId, source, remark };
  if (loaded !== null) {
    const anew = bindPlan(loaded, inputsLike(plan, loaded, options), plan.network);
    const change = findChange(plan, anew);
    if (change !== null) {
      const planned = await describePlan(anew, served, options, { file, retry: told, preview });
      return { ...planned, steps: runAnew(planned.steps, change) };
    }
  }
  const target = options.from === undefined ? null : findStepPath(plan, options.from);
  return describePlan(plan, served, options, {
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
