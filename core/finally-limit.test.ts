import { describe, expect, test } from 'vitest';
import { fail, ok, run, type World } from '../test/support/interpreter-world.js';
import { planOf, stepMaker } from '../test/support/plan-makers.js';
import type { PlanStep, TryStep } from './plan.js';
import type { StepOutcome, StepRequest } from './powers.js';
import type { RunState } from './run-state.js';

const step = stepMaker({
  timeoutMs: 3_600_000,
  retry: { attempts: 1, firstMs: 1_000, factor: 2, mostMs: 10_000, never: [] },
});

const guarded = (last: readonly PlanStep[], more: Partial<TryStep> = {}): TryStep => ({
  kind: 'try',
  id: 'guard',
  key: 'guard',
  steps: [step('a')],
  finally: last,
  finallyTimeoutMs: 60_000,
  ...more,
});

/** Each step of a `finally` takes `ms`. */
const slow =
  (ms: number, body: StepOutcome = ok()) =>
  ({ path }: StepRequest, world: World): StepOutcome => {
    if (!path.includes('/finally/')) return body;
    world.now += ms;
    return ok();
  };

describe('the time limit of a `finally`', () => {
  // try: a; finally: c1 (40 s), c2 (40 s), c3
  const three = guarded([step('c1'), step('c2'), step('c3')]);

  test('cancels what runs in it and begins nothing more there; without another cause it is the failure', async () => {
    const world = await run(planOf(three, step('after')), slow(40_000));
    expect(world.paths).toEqual(['guard/a', 'guard/finally/c1', 'guard/finally/c2']);
    expect(world.state.steps).toMatchObject({
      'guard/finally/c1': { status: 'succeeded' },
      'guard/finally/c2': { status: 'cancelled' },
      guard: { status: 'failed' },
    });
    expect(world.result).toMatchObject({
      status: 'failed',
      error: {
        code: 'FINALLY_TIMEOUT',
        message: 'The `finally` of guard did not end within 1m 00s.',
        step: 'guard',
      },
    });
  });

  test('leaves the first cause as the end of the run', async () => {
    const failed = await run(planOf(three), slow(40_000, fail('PATCH_EMPTY')));
    expect(failed.result).toMatchObject({ status: 'failed', error: { code: 'PATCH_EMPTY' } });
    const stopped = await run(planOf(three), slow(40_000, fail('TASK_NOT_LIVE')));
    expect(stopped.result).toMatchObject({ status: 'stopped', error: { code: 'TASK_NOT_LIVE' } });
    const cancelled = await run(planOf(three), (request, world) => {
      if (request.path === 'guard/a') world.cancel();
      return slow(40_000)(request, world);
    });
    expect(cancelled.result).toBe('cancelled');
    expect(cancelled.paths).toEqual(['guard/a', 'guard/finally/c1', 'guard/finally/c2']);
  });

  test('is as any failure for a `catch` around', async () => {
    const around: TryStep = {
      kind: 'try',
      key: '[0]',
      steps: [three],
      catch: [{ errors: ['FINALLY_TIMEOUT'], as: 'error', steps: [step('mended')] }],
      finally: [],
    };
    const world = await run(planOf(around), slow(40_000));
    expect(world.result).toMatchObject({ status: 'succeeded' });
    expect(world.paths.at(-1)).toBe('[0]/catch/0/mended');
  });

  test('does not count for a `finally` that ends in time, and is not there in plans from before', async () => {
    const quick = await run(planOf(three), slow(10_000));
    expect(quick.result).toMatchObject({ status: 'succeeded' });
    expect(quick.state.steps['guard']).not.toHaveProperty('finallyAt');
    const { finallyTimeoutMs: _none, ...unlimited } = three;
    const old = await run(planOf(unlimited), slow(4_000_000));
    expect(old.paths).toHaveLength(4);
    expect(old.states.some(({ steps }) => steps['guard']?.finallyAt !== undefined)).toBe(false);
  });

  test('counts from the beginning of the `finally`, wherever the run goes on from', async () => {
    const two = planOf(guarded([step('c1'), step('c2')]));
    const whole = await run(two, slow(25_000));
    expect(whole.result).toMatchObject({ status: 'succeeded' });
    const { steps } = whole.states.find(
      (state) => state.steps['guard/finally/c1']?.status === 'succeeded',
    ) ?? { steps: {} };
    expect(steps['guard']?.finallyAt).toBe('2026-01-01T00:00:00.000Z');
    const guard = { status: 'running', uses: 'try', attempts: 0 } as const;
    const since = (finallyAt: string): RunState => ({
      steps: { ...steps, guard: { ...guard, finallyAt } },
    });
    const late = await run(two, slow(40_000), { initial: since('2025-12-31T23:59:30Z') });
    expect(late.paths).toEqual(['guard/finally/c2']);
    expect(late.result).toMatchObject({ error: { code: 'FINALLY_TIMEOUT' } });
    const over = await run(two, slow(1), { initial: since('2025-12-31T23:59:00Z') });
    expect(over.paths).toEqual([]);
    expect(over.result).toMatchObject({ error: { code: 'FINALLY_TIMEOUT' } });
    const inTime = await run(two, slow(40_000), { initial: since('2025-12-31T23:59:50Z') });
    expect(inTime.result).toMatchObject({ status: 'succeeded' });
  });

  test('leaves the `finally` of a block inside its own time', async () => {
    // finally: try (x 70 s) finally y
    const inner: TryStep = {
      kind: 'try',
      id: 'inner',
      key: 'inner',
      steps: [step('x')],
      finally: [step('y')],
      finallyTimeoutMs: 100_000,
    };
    for (const nested of [true, false]) {
      const world = await run(planOf(guarded([inner, step('z')])), slow(70_000), { nested });
      expect(world.paths).toEqual([
        'guard/a',
        'guard/finally/inner/x',
        'guard/finally/inner/finally/y',
      ]);
      expect(world.result).toMatchObject({ error: { code: 'FINALLY_TIMEOUT', step: 'guard' } });
    }
  });
});
