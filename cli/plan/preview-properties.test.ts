/**
 * What is told of generated plans is what the interpreter does: for new runs, runs up to a step, retries of what failed
 * anywhere, and retries from any step. ADIT_PROPERTY_RUNS looks longer.
 */
import { array, assert, asyncProperty, nat } from 'fast-check';
import { expect, test } from 'vitest';
import { toPattern } from '../../core/plan-paths.js';
import type { Plan } from '../../core/plan.js';
import { toRetryState } from '../../core/retry-state.js';
import type { RunState } from '../../core/run-state.js';
import { fail, ok, run } from '../../test/support/interpreter-world.js';
import { PlanDraw } from '../../test/support/plan-draw.js';
import { everyStep, isToRun, type PlannedStep } from './planned-step.js';
import { previewPlan } from './preview-plan.js';
import type { PreviewOptions } from './walk.js';

const RUNS = Number(process.env['ADIT_PROPERTY_RUNS'] ?? 60);

const decide = () => ({ action: 'fail' }) as const;

/** What the steps of a plan that starts programs are told to do, and what they do where none fails. */
async function compare(
  plan: Plan,
  more: Pick<PreviewOptions, 'until' | 'retry'>,
): Promise<PlannedStep[]> {
  const { until, retry } = more;
  const all = everyStep(previewPlan(plan, { taskQueue: 'adit', nowMs: 0, ...more }));
  const told = all.filter(({ uses }) => uses.includes('.'));
  const { paths, result, state } = await run(plan, () => ok(), {
    decide,
    ...(until === undefined ? {} : { until }),
    ...(retry === undefined ? {} : { initial: retry.after }),
  });
  // A `repeat` may fail by its limit, which is not foreseen.
  if (Object.values(state.steps).some(({ status }) => status === 'failed')) return told;
  const open = new Set(told.filter(isToRun).map(({ path }) => path));
  const isTold = (path: string): boolean =>
    open.has(path) || [...open].some((one) => one.includes('#*') && matches(one, path));
  expect(paths.filter((path) => !isTold(path))).toEqual([]);
  // What is beside the end of a run may have begun, or not.
  const isInOrder = all.every(({ blocks }) => blocks.every(({ order }) => order === 'sequence'));
  const status = result === 'cancelled' ? null : result.status;
  if (status === 'succeeded' || (status === 'stopped' && isInOrder)) {
    const surely = told.filter(({ will, path }) => will === 'runs' && !path.includes('#*'));
    expect(surely.map(({ path }) => path).filter((path) => !paths.includes(path))).toEqual([]);
  }
  return told;
}

/** `told` has `#*` for the items of some of its lists. */
function matches(told: string, path: string): boolean {
  const [one, other] = [told.split('/'), path.split('/')];
  return (
    one.length === other.length &&
    one.every((part, at) => part === (part.endsWith('#*') ? toPattern(other[at] ?? '') : other[at]))
  );
}

/** Some steps fail, the same ones for the same numbers. */
function failing(numbers: readonly number[]) {
  let starts = 0;
  return () => {
    starts += 1;
    return (numbers[starts % numbers.length] ?? 0) % 5 === 0 ? fail('DISK_FULL') : ok();
  };
}

async function compareRetry(plan: Plan, before: RunState, from: string | undefined): Promise<void> {
  const after = toRetryState(plan, before, from);
  const target = from ?? null;
  const told = await compare(plan, {
    retry: { roundId: 'round', before, after, target, isExact: true },
  });
  const silent = told.filter(
    (step) => isToRun(step) && step.reason === null && !step.path.includes('#*'),
  );
  expect(silent.map(({ path }) => path)).toEqual([]);
}

test('whatever the plan, the steps start that are told to run, and every step of a retry says why', async () => {
  const list = array(nat(1_000_000), { minLength: 40, maxLength: 40 });
  let retries = 0;
  await assert(
    asyncProperty(list, nat(1_000), async (numbers, pick) => {
      const plan = new PlanDraw(numbers).plan();
      const [until] = (await compare(plan, {})).filter(isToRun).map(({ path }) => path);
      if (until !== undefined && !until.includes('#*')) await compare(plan, { until });
      const { state, paths } = await run(plan, failing(numbers), { decide });
      await compareRetry(plan, state, undefined);
      const from = paths[pick % Math.max(1, paths.length)];
      if (from === undefined) return;
      retries += 1;
      await compareRetry(plan, state, from);
    }),
    { numRuns: RUNS },
  );
  expect(retries).toBeGreaterThan(RUNS / 2);
});
