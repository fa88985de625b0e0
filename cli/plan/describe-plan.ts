/** All that there is to say of a plan, whichever way it was come by. */
import { readHold } from '../../adapters/evidence/effect-hold.js';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import type { Plan } from '../../core/plan.js';
import { holdWords } from '../effect-hold.js';
import { hasEffect } from '../round-lock.js';
import type { Served } from '../session.js';
import { expectedTime, gpuHours } from './expected-time.js';
import { readPast } from './past-times.js';
import type { PlannedRun } from './plan-json.js';
import { previewPlan } from './preview-plan.js';
import type { PreviewOptions } from './walk.js';

export async function describePlan(
  plan: Plan,
  { settings, server }: Served,
  flags: ServerFlags,
  about: Pick<PlannedRun, 'file' | 'retry'> & { readonly preview: PreviewOptions },
): Promise<PlannedRun> {
  const past = await readPast(plan.pipeline, { stateDir: settings.stateDir, server, flags });
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
