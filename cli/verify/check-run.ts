import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import { isJsonObject } from '../../core/json.js';
import { check, failed, recordlessSteps, type Check } from './check.js';

/** Whether the bundle has the records of one run, and its first line is about that run. */
export async function checkRun(bundle: OpenBundle): Promise<Check> {
  return check('run', 'run', async () => {
    const [run, ...others] = bundle.records('run');
    const [plan] = bundle.records('plan');
    if (run === undefined || plan === undefined)
      throw failed(`there is no record of the ${run === undefined ? 'run' : 'plan'}`);
    if (others.length > 0) throw failed('there are records of several runs');
    const { head } = bundle.chain;
    const names = ['runId', 'roundId', 'pipeline', 'status'] as const;
    const other = names.find((name) => run.value[name] !== head?.[name]);
    if (other !== undefined)
      throw failed(
        `its record says the ${other} ${JSON.stringify(run.value[other])}, line 1 another`,
      );
    if (plan.value['pipeline'] !== head?.pipeline)
      throw failed('its plan is of another pipeline than line 1 says');
    const steps = Array.isArray(run.value['steps']) ? run.value['steps'].filter(isJsonObject) : [];
    const gone = recordlessSteps(bundle).length;
    return `${head?.status ?? ''}, ${steps.length} steps${gone === 0 ? '' : `; ${gone} that succeeded have no record here`}`;
  });
}
