/** `adit plan`: what a run of a file would do, or a retry of a run. Starts, sends and writes nothing. */
import type { Settings } from '../../adapters/settings/settings.js';
import { findStepPath } from '../../core/plan-paths.js';
import type { Plan } from '../../core/plan.js';
import type { PlanOptions } from '../commands/plan.js';
import { CliFailure, EXIT } from '../failure.js';
import { bindPlan, loadPipeline, readGivenInputs, type LoadedPipeline } from '../load-plan.js';
import { note, printJson } from '../output.js';
import { readRunTerms } from '../run-terms.js';
import { readServed, type Served } from '../session.js';
import { describePlan } from './describe-plan.js';
import { maskPlannedRun } from './mask-planned-run.js';
import { toPlanJson, type PlannedRun } from './plan-json.js';

export async function planRun(file: string | undefined, options: PlanOptions): Promise<void> {
  assertUsage(file, options);
  const loaded = file === undefined ? null : await loadPipeline(file);
  if (loaded !== null && loaded.warnings !== '') note(`${loaded.warnings}\n`);
  const served = await readServed(options);
  const planned =
    options.retry === undefined
      ? await planFile(loaded, served, options)
      : await (await import('./plan-retry.js')).planRetry(options.retry, loaded, served, options);
  const shown = maskPlannedRun(planned, served.settings);
  if (options.json === true) {
    printJson(toPlanJson(shown));
    return;
  }
  const { printPlannedRun } = await import('./print-planned-run.js');
  printPlannedRun(shown);
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
  served: Served,
  options: PlanOptions,
): Promise<PlannedRun> {
  const { settings } = served;
  if (loaded === null) throw new Error('There is no file.');
  const plan = bindPlan(loaded, readGivenInputs(options), networkOf(settings));
  const nowMs = Date.now();
  const { until: name } = readRunTerms(
    options.until === undefined ? {} : { until: options.until },
    plan,
    nowMs,
  );
  const until = name === undefined ? null : findStepPath(plan, name);
  return describePlan(plan, served, options, {
    file: loaded.file,
    retry: null,
    preview: { taskQueue: settings.taskQueue, nowMs, ...(until === null ? {} : { until }) },
  });
}
