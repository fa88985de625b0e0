/** A block again and again, until its condition holds or its limit is reached. */
import type { Json, JsonObject } from './json.js';
import type { Moving } from './moving-block.js';
import type { RepeatStep } from './plan.js';
import type { Powers } from './powers.js';
import { StepEnd } from './step-end.js';
import type { StepStates } from './step-states.js';

/**
 * The block's outputs: `iterations` and, with `collect`, `last` and `results`. `runIteration` gives what stays of one:
 * `collected`, and `isLast` when `until` was true after it. Fails with REPEAT_LIMIT_REACHED when
 * `until` was not true after the last iteration.
 */
export async function runRepeat(
  step: RepeatStep,
  path: string,
  { states, powers }: { readonly states: StepStates; readonly powers: Powers },
  {
    runIteration,
    moving,
  }: { readonly runIteration: (index: number) => Promise<JsonObject>; readonly moving: Moving },
): Promise<JsonObject> {
  const results: Json[] = [];
  for (let index = 0; index < step.limit; index += 1) {
    if (index > 0) {
      if (!states.has(`${path}#${index}`) && moving.isWanted()) return moving.run();
      await pause(step, path, index, states, powers);
    }
    const { collected = null, isLast } = await runIteration(index);
    results.push(collected);
    if (isLast === true || (step.until === undefined && index + 1 === step.limit)) {
      const values = step.collect === undefined ? {} : { last: collected, results };
      return { iterations: index + 1, ...values };
    }
  }
  throw new StepEnd(
    {
      code: 'REPEAT_LIMIT_REACHED',
      message: `The condition of ${path} was not true after ${step.limit} iterations.`,
      hint: 'Raise its `limit`, or take the code in a `catch` around it.',
      step: path,
    },
    'failed',
  );
}

/** Until `every` has passed since the iteration before began. */
async function pause(
  { everyMs }: RepeatStep,
  path: string,
  index: number,
  states: StepStates,
  powers: Powers,
): Promise<void> {
  const before = states.get(`${path}#${index - 1}`)?.startedAt;
  // An iteration that has begun had its pause.
  if (everyMs === undefined || before === undefined || states.get(`${path}#${index}`)) return;
  const untilMs = Date.parse(before) + everyMs;
  const leftMs = untilMs - powers.now();
  if (leftMs <= 0) return;
  states.note(path, `iteration ${index + 1} begins at ${new Date(untilMs).toISOString()}`);
  await powers.sleep(leftMs, `${path}: until iteration ${index + 1}`);
  states.note(path, null);
}
