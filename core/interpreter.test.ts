import { describe, expect, test } from 'vitest';
import type { Expr, Template } from './expression.js';
import type { StepOutcome, StepRequest } from './powers.js';
import type { ForeachStep, Plan, PlanStep } from './plan.js';
import { fail, ok, run } from '../test/support/interpreter-world.js';
import { foreachOf, lit, output, planOf, stepMaker } from '../test/support/plan-makers.js';

const OPTIONS = {
  timeoutMs: 60_000,
  retry: { attempts: 1, firstMs: 1_000, factor: 2, mostMs: 10_000, never: [] },
} as const;

const step = stepMaker(OPTIONS);

const foreach = (items: readonly string[], overrides: Partial<ForeachStep> = {}): ForeachStep =>
  foreachOf(
    items,
    [step('work', { with: [['item', { t: 'expr', expr: { op: 'name', name: 'item' } }]] })],
    overrides,
  );

describe('a list of steps', () => {
  test('runs in order, and a later step reads the outputs of an earlier one', async () => {
    // a -> b(a.value)
    const plan = planOf(
      step('a'),
      step('b', { with: [['x', { t: 'expr', expr: output('a', 'value') }]] }),
    );
    const world = await run(plan, ({ path }) => ok(path === 'a' ? { value: 7 } : {}));
    expect(world.paths).toEqual(['a', 'b']);
    expect(world.requests[1]?.input).toEqual({ x: 7 });
    expect(world.result).toEqual({ status: 'succeeded', outputs: {} });
  });

  test('ends at the first failure, with the code, the message and the step', async () => {
    const world = await run(planOf(step('a'), step('b')), () => fail('PATCH_EMPTY'));
    expect(world.paths).toEqual(['a']);
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'PATCH_EMPTY', step: 'a' },
    });
  });

  test('ends as stopped when the code is a decision', async () => {
    const world = await run(planOf(step('a')), () => fail('TASK_NOT_LIVE'));
    expect(world.result).toMatchObject({ status: 'stopped', error: { code: 'TASK_NOT_LIVE' } });
    expect(world.state.steps['a']?.status).toBe('stopped');
  });

  test('skips a step whose condition is false, and gives it no outputs', async () => {
    const plan = planOf(step('a', { if: { op: 'lit', value: false } }), step('b'));
    const world = await run(plan, () => ok());
    expect(world.paths).toEqual(['b']);
    expect(world.state.steps['a']).toEqual({ status: 'skipped', uses: 'test.step', attempts: 0 });
  });

  test('leaves an optional input out when it is null', async () => {
    const plan = planOf(
      step('a', {
        optional: ['x'],
        with: [
          ['x', { t: 'value', value: null }],
          ['y', { t: 'value', value: null }],
        ],
      }),
    );
    const world = await run(plan, () => ok());
    expect(world.requests[0]?.input).toEqual({ y: null });
  });

  test('turns a failing expression into a code, not into a failed workflow task', async () => {
    const plan = planOf(step('b', { with: [['x', { t: 'expr', expr: output('a', 'value') }]] }));
    const world = await run(plan, () => ok());
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'EXPRESSION_FAILED', step: 'b' },
    });
  });

  test('refuses an input that is too large to travel, before the step begins', async () => {
    // Expressions can write one input many times; a server terminates the run at 2 MiB, without its finally.
    const text = 'x'.repeat(300_000);
    const twice: Template = { t: 'text', parts: [text, text] };
    const plan = planOf({
      kind: 'try',
      key: 'guard',
      steps: [
        step('a', {
          with: [
            ['one', twice],
            ['two', twice],
          ],
        }),
      ],
      finally: [step('clean')],
    });
    const world = await run(plan, () => ok());
    expect(world.result).toMatchObject({
      status: 'failed',
      error: {
        code: 'STATE_TOO_LARGE',
        message: 'The input of guard/a would be 1200019 bytes; at most 1048576 may travel.',
        step: 'guard/a',
      },
    });
    expect(world.paths).toEqual(['guard/finally/clean']);
  });

  test('refuses outputs of the run that are too large to travel', async () => {
    const plan: Plan = {
      ...planOf(step('a')),
      outputs: [['all', { t: 'value', value: 'x'.repeat(300_000) }]],
    };
    expect((await run(plan, () => ok())).result).toMatchObject({
      status: 'failed',
      error: {
        code: 'STATE_TOO_LARGE',
        message: 'The outputs of the run would be 300010 bytes; at most 262144 may travel.',
      },
    });
  });

  test('refuses outputs that are too large to travel', async () => {
    const world = await run(planOf(step('a')), () => ok({ text: 'x'.repeat(70_000) }));
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'STATE_TOO_LARGE', step: 'a' },
    });
  });

  test('runs a step on the queue of the first workspace that its input holds', async () => {
    const workspace: Template = { t: 'map', entries: [['queue', lit('host-1')]] };
    const plan = planOf(
      step('a', {
        with: [['workspace', workspace]],
        host: [['candidate', 'workspace'], ['workspace']],
      }),
    );
    const world = await run(plan, () => ok());
    expect(world.requests[0]?.queue).toBe('host-1');
  });
});

describe('foreach', () => {
  test('runs each item at its own path, at most `limit` at a time, and collects in list order', async () => {
    let running = 0;
    let most = 0;
    const gates = new Map<string, () => void>();
    const plan = planOf(
      foreach(['a', 'b', 'c', 'd'], { collect: output('work', 'value') }),
      step('after', {
        with: [['list', { t: 'expr', expr: output('each', 'results') }]],
      }),
    );
    const world = await run(plan, async ({ path, input }) => {
      if (path === 'after') return ok();
      running += 1;
      most = Math.max(most, running);
      await new Promise<void>((resolve) => {
        gates.set(path, resolve);
        // The later of two ends first: list order must not depend on it.
        if (gates.size % 2 === 0)
          setImmediate(() => [...gates.values()].toReversed().forEach((open) => open()));
      });
      running -= 1;
      return ok({ value: String(input['item']).toUpperCase() });
    });
    expect(most).toBe(2);
    expect(world.paths.toSorted()).toEqual([
      'after',
      'each#0/work',
      'each#1/work',
      'each#2/work',
      'each#3/work',
    ]);
    expect(world.requests.at(-1)?.input).toEqual({ list: ['A', 'B', 'C', 'D'] });
  });

  test('with fail: wait goes on after a failed item, leaves it out and lists it', async () => {
    const world = await run(
      planOf(foreach(['a', 'b', 'c'], { fail: 'wait', collect: { op: 'name', name: 'item' } })),
      ({ path }) => (path === 'each#1/work' ? fail('PROGRAM_FAILED') : ok()),
    );
    expect(world.result).toMatchObject({ status: 'succeeded' });
    expect(world.state.steps['each']?.outputs).toEqual({
      results: ['a', 'c'],
      failures: [{ index: 1, code: 'PROGRAM_FAILED', message: 'PROGRAM_FAILED happened' }],
    });
    expect(world.state.steps['each#1']?.status).toBe('failed');
  });

  test('with fail: wait fails when no item succeeded, and says why', async () => {
    const world = await run(planOf(foreach(['a', 'b'], { fail: 'wait' })), () =>
      fail('PROGRAM_FAILED'),
    );
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'FOREACH_FAILED', step: 'each#0/work' },
    });
  });

  test('with fail: fast cancels the other items and ends with the first failure', async () => {
    const world = await run(planOf(foreach(['a', 'b', 'c', 'd'])), async ({ path }) => {
      if (path === 'each#0/work') return fail('PROGRAM_FAILED');
      await new Promise((resolve) => setImmediate(resolve));
      return ok();
    });
    expect(world.result).toMatchObject({ status: 'failed', error: { code: 'PROGRAM_FAILED' } });
    expect(world.paths).toEqual(['each#0/work', 'each#1/work']);
    expect(world.state.steps['each#1']?.status).toBe('cancelled');
  });

  test('does not wait out a stop inside an item', async () => {
    const stop: PlanStep = { kind: 'stop', key: '[0]', reason: lit('enough') };
    const world = await run(
      planOf(foreach(['a', 'b'], { fail: 'wait', limit: 1, steps: [stop] })),
      () => ok(),
    );
    expect(world.result).toMatchObject({
      status: 'stopped',
      error: { code: 'STOPPED', message: 'enough' },
    });
  });

  test('keeps of an ended item only its status and what it collected', async () => {
    const world = await run(planOf(foreach(['a'], { collect: output('work', 'value') })), () =>
      ok({ value: 1, big: 'x' }),
    );
    expect(world.state.steps['each#0/work']?.outputs).toBeUndefined();
    expect(world.state.steps['each']?.outputs).toEqual({ results: [1], failures: [] });
  });

  test('over an empty list succeeds with no results', async () => {
    const collect: Expr = { op: 'lit', value: 1 };
    const world = await run(planOf(foreach([], { fail: 'wait', collect })), () => ok());
    expect(world.state.steps['each']?.outputs).toEqual({ results: [], failures: [] });
  });

  test('has results only where it collects', async () => {
    const world = await run(planOf(foreach(['x', 'y'])), () => ok());
    expect(world.state.steps['each']?.outputs).toEqual({ failures: [] });
  });
});

describe('try and finally', () => {
  const guarded: PlanStep = {
    kind: 'try',
    id: 'guard',
    key: 'guard',
    steps: [step('a'), step('b')],
    finally: [step('clean')],
  };

  test('finally runs after success', async () => {
    const world = await run(planOf(guarded, step('after')), () => ok());
    expect(world.paths).toEqual(['guard/a', 'guard/b', 'guard/finally/clean', 'after']);
  });

  test('finally runs after a failure, which stays the reason of the end', async () => {
    const world = await run(planOf(guarded, step('after')), ({ path }) =>
      path === 'guard/finally/clean' ? fail('DISK_FULL') : fail('CLAIM_EXPIRED'),
    );
    expect(world.paths).toEqual(['guard/a', 'guard/finally/clean']);
    expect(world.result).toMatchObject({ status: 'failed', error: { code: 'CLAIM_EXPIRED' } });
    expect(world.state.steps['guard/finally/clean']?.error?.code).toBe('DISK_FULL');
  });

  test('finally runs after a cancellation, and the run ends as cancelled', async () => {
    const world = await run(planOf(guarded), ({ path }, self) => {
      if (path === 'guard/a') self.cancel();
      return ok();
    });
    expect(world.result).toBe('cancelled');
    expect(world.paths).toEqual(['guard/a', 'guard/finally/clean']);
    expect(world.state.steps['guard/a']?.status).toBe('cancelled');
    expect(world.state.steps['guard/finally/clean']?.status).toBe('succeeded');
  });

  test('finally runs when the state of the run is full', async () => {
    // before (its outputs leave 200 bytes) -> guard(a; finally clean)
    const before = {
      status: 'succeeded' as const,
      uses: 'test.step',
      attempts: 1,
      outputs: { text: 'x'.repeat(1024 * 1024 - 378) },
    };
    const world = await run(planOf(guarded), () => ok({ text: 'x'.repeat(60_000) }), {
      initial: { steps: { before } },
    });
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'STATE_TOO_LARGE', step: 'guard/a' },
    });
    expect(world.paths).toEqual(['guard/finally/clean']);
    expect(world.state.steps['guard/finally/clean']?.status).toBe('succeeded');
  });

  test('a failure in finally alone fails the run', async () => {
    const world = await run(planOf(guarded), ({ path }) =>
      path.includes('finally') ? fail('DISK_FULL') : ok(),
    );
    expect(world.result).toMatchObject({ status: 'failed', error: { code: 'DISK_FULL' } });
  });
});

describe('a run that is started from a recorded state', () => {
  // a -> each(work) -> guard(c; finally clean) -> d
  const plan = planOf(
    step('a'),
    foreach(['x', 'y'], { collect: output('work', 'value'), fail: 'wait' }),
    {
      kind: 'try',
      key: '[2]',
      steps: [step('c', { with: [['list', { t: 'expr', expr: output('each', 'results') }]] })],
      finally: [step('clean')],
    },
    step('d', { with: [['a', { t: 'expr', expr: output('a', 'value') }]] }),
  );
  const answer = ({ path }: StepRequest): StepOutcome =>
    path === 'each#1/work' ? fail('PROGRAM_FAILED') : ok({ value: path });

  test('ends as the uninterrupted run, from the state after every event', async () => {
    const whole = await run(plan, answer);
    const inputs = new Map(whole.requests.map(({ path, input }) => [path, JSON.stringify(input)]));
    for (const state of whole.states) {
      const resumed = await run(plan, answer, { initial: state });
      expect(resumed.result).toEqual(whole.result);
      for (const { path, input } of resumed.requests)
        expect(JSON.stringify(input)).toBe(inputs.get(path));
      for (const path of resumed.paths) expect(state.steps[path]?.status).not.toBe('succeeded');
    }
  });
});

describe('until', () => {
  const guarded: PlanStep = {
    kind: 'try',
    id: 'guard',
    key: 'guard',
    steps: [step('gate'), step('submit')],
    finally: [step('clean')],
  };

  test('ends the run as stopped behind the step, and `finally` runs', async () => {
    for (const until of ['gate', 'guard/gate']) {
      const world = await run(planOf(step('a'), guarded, step('after')), () => ok(), { until });
      expect(world.paths).toEqual(['a', 'guard/gate', 'guard/finally/clean']);
      expect(world.result).toEqual({
        status: 'stopped',
        outputs: {},
        error: {
          code: 'UNTIL_REACHED',
          message: 'The run was to go until guard/gate, which succeeded.',
          step: 'guard/gate',
        },
      });
      expect(world.state.steps['guard/gate']?.status).toBe('succeeded');
      expect(world.state.steps['guard']?.status).toBe('stopped');
    }
  });

  test('is reached by a block when its last step has ended', async () => {
    const world = await run(planOf(guarded, step('after')), () => ok(), { until: 'guard' });
    expect(world.paths).toEqual(['guard/gate', 'guard/submit', 'guard/finally/clean']);
    expect(world.result).toMatchObject({ status: 'stopped', error: { code: 'UNTIL_REACHED' } });
  });

  test('names a step of an item by its path, and does not wait for the other items', async () => {
    const world = await run(planOf(foreach(['x', 'y', 'z'], { limit: 1 }), step('b')), () => ok(), {
      until: 'each#1/work',
    });
    expect(world.paths).toEqual(['each#0/work', 'each#1/work']);
    expect(world.result).toMatchObject({ status: 'stopped', error: { step: 'each#1/work' } });
  });

  test('holds also where the run does not come by the step', async () => {
    const no = { op: 'lit', value: false } as const;
    const skipped = await run(planOf(step('a', { if: no }), step('b')), () => ok(), { until: 'a' });
    expect(skipped.paths).toEqual([]);
    expect(skipped.result).toMatchObject({
      error: { code: 'UNTIL_REACHED', message: 'The run was to go until a, which was skipped.' },
    });
    const short = await run(planOf(foreach(['x']), step('b')), () => ok(), {
      until: 'each#4/work',
    });
    expect(short.paths).toEqual(['each#0/work']);
    expect(short.result).toMatchObject({
      error: {
        code: 'UNTIL_REACHED',
        message: 'The run was to go until each#4/work; each ended without reaching it.',
      },
    });
  });

  test('ends at once a run that goes on from behind the step', async () => {
    const plan = planOf(step('a'), step('b'));
    const { state } = await run(plan, () => ok(), { until: 'a' });
    const again = await run(plan, () => ok(), { until: 'a', initial: state });
    expect(again.paths).toEqual([]);
    expect(again.result).toMatchObject({ status: 'stopped', error: { code: 'UNTIL_REACHED' } });
  });

  test('starts nothing when there is no such step, or more than one', async () => {
    const plan = planOf(step('a'), foreach(['x']));
    const unknown = await run(plan, () => ok(), { until: 'gat' });
    expect(unknown.paths).toEqual([]);
    expect(unknown.result).toMatchObject({
      status: 'failed',
      error: {
        code: 'STEP_PATH_UNKNOWN',
        message: 'The pipeline test has no step `gat`; it has a, each, each#0/work.',
      },
    });
    const many = await run(plan, () => ok(), { until: 'work' });
    expect(many.paths).toEqual([]);
    expect(many.result).toMatchObject({
      error: { code: 'STEP_PATH_UNKNOWN', hint: 'Name the item, such as `each#0/work`.' },
    });
  });
});

test('a run that goes on behind a block reads the outputs of the steps in it', async () => {
  // guard(c; finally clean) -> choice(then d) -> e(c.value, d.value)
  const plan = planOf(
    { kind: 'try', key: '[0]', steps: [step('c')], finally: [step('clean')] },
    { kind: 'if', key: '[1]', test: { op: 'lit', value: true }, then: [step('d')], else: [] },
    step('e', {
      with: [
        ['c', { t: 'expr', expr: output('c', 'value') }],
        ['d', { t: 'expr', expr: output('d', 'value') }],
      ],
    }),
  );
  const answer = ({ path }: StepRequest): StepOutcome => ok({ value: path });
  const whole = await run(plan, answer);
  for (const state of whole.states) {
    const resumed = await run(plan, answer, { initial: state });
    expect(resumed.result).toEqual(whole.result);
    const [last] = resumed.requests.slice(-1);
    if (last !== undefined) expect(last.input).toEqual({ c: '[0]/c', d: '[1]/then/d' });
  }
});
