import { describe, expect, test } from 'vitest';
import { fail, ok, run, type Asked } from '../test/support/interpreter-world.js';
import { expr, foreachOf, lit, output, planOf, stepMaker } from '../test/support/plan-makers.js';
import type { PlanStep } from './plan.js';
import type { RunState } from './run-state.js';

const OPTIONS = {
  timeoutMs: 60_000,
  retry: { attempts: 1, firstMs: 1_000, factor: 2, mostMs: 10_000, never: [] },
} as const;

const step = stepMaker(OPTIONS);

describe('retries', () => {
  const retrying = { ...OPTIONS, retry: { ...OPTIONS.retry, attempts: 3 } };

  test('count step errors, back off, and number the starts', async () => {
    const world = await run(planOf(step('a', { options: retrying })), ({ start }) =>
      start < 3 ? fail('COORDINATOR_UNAVAILABLE', true) : ok(),
    );
    expect(world.requests.map(({ start }) => start)).toEqual([1, 2, 3]);
    expect(world.slept).toEqual([1_000, 2_000]);
    expect(world.state.steps['a']).toMatchObject({ status: 'succeeded', attempts: 3 });
  });

  test('wait at least as long as the other side asked', async () => {
    const world = await run(planOf(step('a', { options: retrying })), ({ start }) =>
      start === 1
        ? {
            kind: 'failed',
            error: { code: 'COORDINATOR_RATE_LIMITED', message: '' },
            retryable: true,
            retryAfterMs: 9_000,
          }
        : ok(),
    );
    expect(world.slept).toEqual([9_000]);
  });

  test('end with the error when the tries are used up', async () => {
    const world = await run(planOf(step('a', { options: retrying })), () =>
      fail('COORDINATOR_UNAVAILABLE', true),
    );
    expect(world.requests).toHaveLength(3);
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'COORDINATOR_UNAVAILABLE' },
    });
  });

  test('do not happen for a final code, nor for one that the author called final', async () => {
    const final = await run(planOf(step('a', { options: retrying })), () =>
      fail('COORDINATOR_REFUSED'),
    );
    expect(final.requests).toHaveLength(1);
    const never = { ...retrying, retry: { ...retrying.retry, never: ['PROGRAM_FAILED'] } };
    const named = await run(planOf(step('a', { options: never })), () =>
      fail('PROGRAM_FAILED', true),
    );
    expect(named.requests).toHaveLength(1);
  });

  test('do not begin after the timeout of the step', async () => {
    const short = { ...retrying, timeoutMs: 1_500, retry: { ...retrying.retry, attempts: 10 } };
    const world = await run(planOf(step('a', { options: short })), () =>
      fail('COORDINATOR_UNAVAILABLE', true),
    );
    expect(world.requests.map(({ remainingMs }) => remainingMs)).toEqual([1_500, 500]);
  });
});

describe('a step that runs a program', () => {
  const options = { ...OPTIONS, attemptTimeoutMs: 5_000, gpus: 2 };
  const program = step('a', { program: true, options });

  test('has no deadline: its limits go to the host that keeps the time', async () => {
    const world = await run(planOf(program), ({ start }, self) => {
      self.now += 10 * OPTIONS.timeoutMs;
      return start === 1 ? fail('PROGRAM_LOST', true) : ok();
    });
    expect(world.requests.map(({ remainingMs }) => remainingMs)).toEqual([null, null]);
    expect(world.requests[1]?.program).toEqual({
      timeoutMs: 60_000,
      attemptTimeoutMs: 5_000,
      gpus: 2,
    });
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('begins its next start at once when it was paused, and a second later when it was lost', async () => {
    const world = await run(planOf(program), ({ start }) => {
      if (start === 1) return fail('PROGRAM_PAUSED', true);
      return start === 2 ? fail('PROGRAM_LOST', true) : ok();
    });
    expect(world.requests.map(({ start }) => start)).toEqual([1, 2, 3]);
    expect(world.slept).toEqual([1_000]);
    expect(world.state.steps['a']).toMatchObject({ status: 'succeeded', attempts: 3 });
  });

  test('is restarted without using up a try', async () => {
    const retrying = { ...options, retry: { ...OPTIONS.retry, attempts: 2 } };
    // lost, failed, lost, failed: two tries
    const world = await run(planOf(step('a', { program: true, options: retrying })), ({ start }) =>
      start % 2 === 1 ? fail('PROGRAM_LOST', true) : fail('PROGRAM_FAILED', true),
    );
    expect(world.requests.map(({ start }) => start)).toEqual([1, 2, 3, 4]);
    // The back-off counts tries, not starts.
    expect(world.slept).toEqual([1_000, 1_000, 1_000]);
    expect(world.result).toMatchObject({ status: 'failed', error: { code: 'PROGRAM_FAILED' } });
  });

  test('is restarted ten times, then it fails and says so', async () => {
    const world = await run(planOf(program), () => fail('PROGRAM_LOST', true));
    expect(world.requests).toHaveLength(11);
    expect(world.result).toMatchObject({
      status: 'failed',
      error: {
        code: 'PROGRAM_LOST',
        message: 'PROGRAM_LOST happened It was restarted 10 times.',
        step: 'a',
      },
    });
  });

  test('may be paused as often as a person likes', async () => {
    const world = await run(planOf(program), ({ start }) =>
      start <= 30 ? fail('PROGRAM_PAUSED', true) : ok(),
    );
    expect(world.requests).toHaveLength(31);
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('has its whole run time once more when a person retries after it was spent', async () => {
    const asking = planOf(step('a', { program: true, options: { ...options, onFailure: 'ask' } }));
    const world = await run(asking, ({ start }) => (start === 1 ? fail('PROGRAM_TIMEOUT') : ok()), {
      decide: () => ({ action: 'retry' }),
    });
    const [first, second] = world.requests.map(({ program: limits }) => limits?.timeoutMs ?? 0);
    expect(second).toBe((first ?? 0) * 2);
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('is not restarted when the author calls the code final', async () => {
    const never = { ...options, retry: { ...OPTIONS.retry, never: ['PROGRAM_LOST'] } };
    const world = await run(planOf(step('a', { program: true, options: never })), () =>
      fail('PROGRAM_LOST', true),
    );
    expect(world.requests).toHaveLength(1);
    expect(world.result).toMatchObject({ status: 'failed', error: { code: 'PROGRAM_LOST' } });
  });

  test('never repeats a start when the run goes on from any state', async () => {
    const retrying = { ...options, retry: { ...OPTIONS.retry, attempts: 3 } };
    const plan = planOf(step('a', { program: true, options: retrying }));
    const answer = ({ start }: { start: number }) =>
      start < 4 ? fail(start === 2 ? 'PROGRAM_LOST' : 'PROGRAM_FAILED', true) : ok();
    const whole = await run(plan, answer);
    expect(whole.requests).toHaveLength(4);
    for (const state of whole.states) {
      const { status, attempts = 0, error } = state.steps['a'] ?? {};
      const resumed = await run(plan, answer, { initial: state });
      expect(resumed.result).toEqual(whole.result);
      const next = status === 'succeeded' ? [] : [error === undefined ? attempts : attempts + 1];
      expect(resumed.requests.slice(0, 1).map(({ start }) => start)).toEqual(next);
    }
  });

  test('shows what it waits for until it has ended', async () => {
    const world = await run(planOf(program), (_request, _world, note) => {
      note('waits for device 0');
      note('waits for device 0');
      note(null);
      note('cancelling, waits for host x');
      return ok();
    });
    expect(world.states.map(({ steps }) => steps['a']?.note)).toEqual([
      undefined,
      'waits for device 0',
      undefined,
      'cancelling, waits for host x',
      undefined,
    ]);
  });
});

describe('a step whose end is for a person to decide', () => {
  const unknown = (askUntilMs?: number) => ({
    ...fail('EFFECT_UNKNOWN'),
    ...(askUntilMs === undefined ? {} : { askUntilMs }),
  });
  const reads = step('b', { with: [['x', expr(output('a', 'value'))]] });

  test('is parked with its error, and a value becomes its outputs', async () => {
    // a (parked) -> b(a.value)
    let parked: RunState = { steps: {} };
    const world = await run(
      planOf(step('a'), reads),
      ({ path }) => (path === 'a' ? unknown() : ok()),
      {
        decide: (_asked, self) => {
          parked = self.state;
          return { action: 'value', outputs: { value: 7 } };
        },
      },
    );
    expect(parked.steps['a']).toMatchObject({
      status: 'parked',
      attempts: 1,
      error: { code: 'EFFECT_UNKNOWN', message: 'EFFECT_UNKNOWN happened', step: 'a' },
    });
    expect(parked.steps['a']?.note).toBeUndefined();
    expect(world.asked).toEqual([
      {
        path: 'a',
        error: expect.objectContaining({ code: 'EFFECT_UNKNOWN' }) as object,
        untilMs: null,
      },
    ]);
    expect(world.requests.at(-1)?.input).toEqual({ x: 7 });
    expect(world.state.steps['a']).toMatchObject({ status: 'succeeded', outputs: { value: 7 } });
  });

  test('ends the run as stopped when the decision is to fail', async () => {
    const world = await run(planOf(step('a'), reads), () => unknown(), {
      decide: () => ({ action: 'fail' }),
    });
    expect(world.result).toMatchObject({
      status: 'stopped',
      error: { code: 'EFFECT_UNKNOWN', step: 'a' },
    });
  });

  test('waits no longer than the error says, and `finally` runs then', async () => {
    const guard: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [step('a')],
      finally: [step('clean')],
    };
    const untilMs = Date.parse('2026-01-01T01:00:00Z');
    let note: string | undefined;
    const world = await run(
      planOf(guard),
      ({ path }) => (path === 'guard/a' ? unknown(untilMs) : ok()),
      {
        decide: (_asked, self) => {
          note = self.state.steps['guard/a']?.note;
          return null;
        },
      },
    );
    expect(world.asked).toMatchObject([{ path: 'guard/a', untilMs }]);
    expect(note).toBe('asks until 2026-01-01T01:00:00.000Z, then the run ends as stopped');
    expect(world.paths).toEqual(['guard/a', 'guard/finally/clean']);
    expect(world.result).toMatchObject({ status: 'stopped', error: { code: 'EFFECT_UNKNOWN' } });
  });

  test('begins its next start on a retry, with its tries counted anew and its parked time given back', async () => {
    const options = {
      ...OPTIONS,
      retry: { ...OPTIONS.retry, attempts: 2 },
      onFailure: 'ask' as const,
    };
    const world = await run(
      planOf(step('a', { options })),
      ({ start }) => (start < 4 ? fail('COORDINATOR_UNAVAILABLE', true) : ok()),
      {
        decide: (_asked, self) => {
          self.now += 7 * 24 * 3_600_000;
          return { action: 'retry' };
        },
      },
    );
    // Two tries, parked for a week, two tries; the pauses take one second each.
    expect(world.requests.map(({ start }) => start)).toEqual([1, 2, 3, 4]);
    expect(world.requests.map(({ remainingMs }) => remainingMs)).toEqual([
      60_000, 59_000, 59_000, 58_000,
    ]);
    expect(world.asked).toHaveLength(1);
    expect(world.state.steps['a']).toMatchObject({ status: 'succeeded', attempts: 4 });
  });

  test('has its whole timeout once more when a retry finds none of it left', async () => {
    const options = { ...OPTIONS, onFailure: 'ask' as const };
    const world = await run(
      planOf(step('a', { options })),
      ({ start }, self) => {
        if (start > 1) return ok();
        self.now += 60_000;
        return fail('STEP_TIMEOUT');
      },
      { decide: () => ({ action: 'retry' }) },
    );
    expect(world.requests.map(({ remainingMs }) => remainingMs)).toEqual([60_000, 60_000]);
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('with on_failure: ask is parked whatever the code, and fails as the code says', async () => {
    const options = { ...OPTIONS, onFailure: 'ask' as const };
    for (const [code, status] of [
      ['PATCH_EMPTY', 'failed'],
      ['TASK_NOT_LIVE', 'stopped'],
    ]) {
      const world = await run(planOf(step('a', { options })), () => fail(code ?? ''), {
        decide: () => ({ action: 'fail' }),
      });
      expect(world.asked).toHaveLength(1);
      expect(world.result).toMatchObject({ status, error: { code } });
    }
  });

  test('with on_failure: ask is parked also when its input cannot be evaluated', async () => {
    const options = { ...OPTIONS, onFailure: 'ask' as const };
    const plan = planOf(step('b', { options, with: [['x', expr(output('a', 'value'))]] }));
    const world = await run(plan, () => ok(), {
      decide: () => ({ action: 'value', outputs: { done: true } }),
    });
    expect(world.requests).toEqual([]);
    expect(world.asked).toMatchObject([{ path: 'b', error: { code: 'EXPRESSION_FAILED' } }]);
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('can be parked again and again', async () => {
    const answers: Array<{ action: 'retry' } | { action: 'fail' }> = [
      { action: 'retry' },
      { action: 'retry' },
      { action: 'fail' },
    ];
    const world = await run(planOf(step('a')), () => unknown(), {
      decide: () => answers.shift() ?? null,
    });
    expect(world.requests.map(({ start }) => start)).toEqual([1, 2, 3]);
    expect(world.result).toMatchObject({ status: 'stopped' });
  });

  test('is cancelled by a cancellation while it is parked', async () => {
    const world = await run(planOf(step('a')), () => unknown(), {
      decide: (_asked, self) => {
        self.cancel();
        return { action: 'retry' };
      },
    });
    expect(world.result).toBe('cancelled');
    expect(world.requests).toHaveLength(1);
    expect(world.state.steps['a']?.status).toBe('cancelled');
  });

  test('is parked in `finally` of a cancelled run as well', async () => {
    const guard: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [step('a')],
      finally: [step('clean')],
    };
    const world = await run(
      planOf(guard),
      ({ path, start }, self) => {
        if (path === 'guard/a') self.cancel();
        return path === 'guard/finally/clean' && start === 1 ? unknown() : ok();
      },
      { decide: () => ({ action: 'retry' }) },
    );
    expect(world.result).toBe('cancelled');
    expect(world.asked).toMatchObject([{ path: 'guard/finally/clean' }]);
    expect(world.state.steps['guard/finally/clean']?.status).toBe('succeeded');
  });

  test('does not hold up the other items of a foreach', async () => {
    const decided = new Map<string, () => void>();
    const plan = planOf(
      foreachOf(['x', 'y', 'z'], [step('work')], { collect: output('work', 'value'), limit: 3 }),
    );
    const world = await run(
      plan,
      ({ path }) => (path === 'each#1/work' ? ok({ value: path }) : unknown()),
      {
        decide: async ({ path }: Asked) => {
          await new Promise<void>((resolve) => {
            decided.set(path, resolve);
            // The later one is decided first.
            if (decided.size === 2) [...decided.values()].toReversed().forEach((open) => open());
          });
          return { action: 'value', outputs: { value: `decided ${path}` } };
        },
      },
    );
    expect(world.state.steps['each']?.outputs?.['results']).toEqual([
      'decided each#0/work',
      'each#1/work',
      'decided each#2/work',
    ]);
  });

  test('of an effect is parked when its tries are used up without an answer, but not in `finally`', async () => {
    const effect = (key: string) => step(key, { effect: true, options: OPTIONS });
    const guard: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [effect('a')],
      finally: [effect('b')],
    };
    const world = await run(planOf(guard), () => fail('COORDINATOR_UNAVAILABLE', true), {
      decide: () => ({ action: 'fail' }),
    });
    expect(world.asked.map(({ path }) => path)).toEqual(['guard/a']);
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'COORDINATOR_UNAVAILABLE' },
    });
  });

  test('goes on waiting, until the same moment, when the run goes on from a state', async () => {
    const untilMs = Date.parse('2026-01-01T01:00:00Z');
    const plan = planOf(step('a'), reads);
    const answer = ({ path }: { path: string }) => (path === 'a' ? unknown(untilMs) : ok());
    const decide = () => ({ action: 'value' as const, outputs: { value: 1 } });
    const whole = await run(plan, answer, { decide });
    for (const state of whole.states) {
      const resumed = await run(plan, answer, { initial: state, decide });
      expect(resumed.result).toEqual(whole.result);
      if (state.steps['a']?.status !== 'parked') continue;
      expect(resumed.asked).toEqual(whole.asked);
      expect(resumed.paths).toEqual(['b']);
    }
  });

  test('takes no value that is too large to travel', async () => {
    const world = await run(planOf(step('a')), () => unknown(), {
      decide: () => ({ action: 'value', outputs: { text: 'x'.repeat(70_000) } }),
    });
    expect(world.result).toMatchObject({ status: 'failed', error: { code: 'STATE_TOO_LARGE' } });
  });
});

describe('inputs', () => {
  test('of a step on a host name its queue, and a program asks for none', async () => {
    const world = await run(
      planOf(step('a', { program: true, with: [['command', lit('true')]] })),
      () => ok(),
    );
    expect(world.requests[0]).toMatchObject({ queue: null, input: { command: 'true' } });
  });
});
