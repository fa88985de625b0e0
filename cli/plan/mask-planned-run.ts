/** A planned run as it may be shown: inputs and files may hold what the settings name as secret. */
import { maskJson, withTokenForms, type Mask } from '../../adapters/bundle/masked-json.js';
import { createTextMask } from '../../adapters/secrets/text-mask.js';
import type { Settings } from '../../adapters/settings/settings.js';
import { secretFiles } from '../known-secrets.js';
import type { KnownValue } from './known-value.js';
import { toPlanJson, type PlannedRun } from './plan-json.js';
import type { PlannedQueue, PlannedStep } from './planned-step.js';

/**
 * The run with the secrets of the settings, mnemonics and what has the form of a token masked. After everything is
 * decided: a condition sees its inputs as they are.
 */
export function maskPlannedRun(run: PlannedRun, settings: Settings): PlannedRun {
  const mask = withTokenForms(createTextMask(secretFiles(settings)));
  const all = toPlanJson(run);
  if (maskJson(all, mask) === all) return run;
  const { plan } = run;
  return {
    ...run,
    plan: {
      ...plan,
      inputs: maskJson(plan.inputs, mask),
      ...(plan.summary === undefined ? {} : { summary: mask(plan.summary) }),
    },
    steps: run.steps.map((step) => maskStep(step, mask)),
  };
}

function maskStep(step: PlannedStep, mask: Mask): PlannedStep {
  const { summary, reason, condition, queue, limits } = step;
  const { expires } = limits;
  return {
    ...step,
    summary: summary === null ? null : maskValue(summary, mask),
    reason: reason === null ? null : { ...reason, message: mask(reason.message) },
    condition: condition === null ? null : mask(condition),
    with: Object.fromEntries(
      Object.entries(step.with).map(([name, value]) => [name, maskValue(value, mask)]),
    ),
    queue: queue === null ? null : maskQueue(queue, mask),
    limits: {
      ...limits,
      ...(expires === undefined ? {} : { expires: maskValue(expires, mask) }),
    },
    blocks: step.blocks.map((block) => ({
      ...block,
      title: mask(block.title),
      steps: block.steps.map((inner) => maskStep(inner, mask)),
    })),
  };
}

function maskValue(value: KnownValue, mask: Mask): KnownValue {
  if (value.known) return { known: true, value: maskJson(value.value, mask) };
  return { ...value, text: mask(value.text) };
}

function maskQueue(queue: PlannedQueue, mask: Mask): PlannedQueue {
  if (queue.kind !== 'workspace') return queue;
  const name = queue.name === null ? null : mask(queue.name);
  return { ...queue, name, of: mask(queue.of) };
}
