/** `repeat`, `try … catch`, `wait`, and all blocks in one; the others are in interpreter.test.ts and run-parallel.test.ts. */
import { describe, expect, test } from 'vitest';
import { toCarriedState } from './carried-state.js';
import type { Expr } from './expression.js';
import { interpret } from './interpreter.js';
import type { PlanStep, WaitStep } from './plan.js';
import type { StepOutcome, StepRequest } from './powers.js';
import { endingsOf, guard, parallel, repeat, step } from '../test/support/block-makers.js';
import { fail, ok, run } from '../test/support/interpreter-world.js';
import { expr, lit, output, planOf } from '../test/support/plan-makers.js';

/** Done in this iteration, from 1; the value is the number of the iteration. */
const doneIn =
  (iteration: number) =>
  ({ path }: StepRequest): StepOutcome => {
    const number = Number(/#(\d+)/.exec(path)?.[1] ?? -1) + 1;
    return ok({ done: number === iteration, value: number });
  };

describe('repeat', () => {
  test('asks `until` after each iteration, and ends with the first that is true', async () => {
    const after = step('after', { with: [['n', expr(output('loop', 'iterations'))]] });
    const world = await run(planOf(repeat(), after), doneIn(3));
    expect(world.paths).toEqual(['loop#0/look', 'loop#1/look', 'loop#2/look', 'after']);
    expect(world.state.steps['loop']?.outputs).toEqual({
      iterations: 3,
      last: 3,
      results: [1, 2, 3],
    });
    expect(world.requests.at(-1)?.input).toEqual({ n: 3 });
  });

  test('may be done in its first and in its last iteration', async () => {
    for (const iteration of [1, 5]) {
      const world = await run(planOf(repeat()), doneIn(iteration));
      expect(world.result).toMatchObject({ status: 'succeeded' });
      expect(world.paths).toHaveLength(iteration);
    }
  });

  test('fails when it is not done after the last iteration', async () => {
    const world = await run(planOf(repeat()), doneIn(6));
    expect(world.paths).toHaveLength(5);
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'REPEAT_LIMIT_REACHED', step: 'loop' },
    });
  });

  test('without `until` runs as often as its limit says', async () => {
    const { until: _none, collect: _nothing, ...plain } = repeat({ limit: 3 });
    const world = await run(planOf(plain), doneIn(1));
    expect(world.paths).toHaveLength(3);
    expect(world.state.steps['loop']?.outputs).toEqual({ iterations: 3 });
  });

  test('begins an iteration not before `every` has passed since the one before began', async () => {
    const world = await run(planOf(repeat({ everyMs: 60_000 })), (request, self) => {
      // The second takes longer than the pause.
      self.now += request.path === 'loop#1/look' ? 70_000 : 10_000;
      return doneIn(4)(request);
    });
    expect(world.slept).toEqual([50_000, 50_000]);
  });

  test('tells its steps the number of the iteration', async () => {
    const number: Expr = { op: 'name', name: 'n' };
    const looks = step('look', { with: [['n', expr(number)]] });
    const world = await run(planOf(repeat({ as: 'n', steps: [looks] })), doneIn(3));
    expect(world.requests.map(({ input }) => input)).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }]);
  });

  test('fails with the failure of an iteration, and begins no other', async () => {
    const world = await run(planOf(repeat()), (request) =>
      request.path === 'loop#1/look' ? fail('DISK_FULL') : doneIn(3)(request),
    );
    expect(world.paths).toEqual(['loop#0/look', 'loop#1/look']);
    expect(world.result).toMatchObject({ error: { code: 'DISK_FULL', step: 'loop#1/look' } });
  });

  test('keeps of an iteration that has ended only what it collected', async () => {
    const world = await run(planOf(repeat()), doneIn(2));
    expect(world.state.steps['loop#0/look']?.outputs).toBeUndefined();
    expect(world.state.steps['loop#0']?.outputs).toEqual({ collected: 1, isLast: false });
  });
});

/** `a` fails with this code. */
const failing =
  (code: string) =>
  ({ path }: StepRequest): StepOutcome =>
    path === 'guard/a' ? fail(code) : ok({ value: path });

describe('catch', () => {
  const clauses = [
    { errors: ['DISK_FULL'] },
    { errors: ['PATCH_EMPTY', 'CLAIM_EXPIRED'] },
    { errors: ['CLAIM_EXPIRED'] },
  ];

  test('runs the first clause that takes the code, and the run goes on behind the block', async () => {
    const world = await run(planOf(guard(clauses), step('after')), failing('CLAIM_EXPIRED'));
    expect(world.paths).toEqual(['guard/a', 'guard/catch/1/c1', 'after']);
    expect(world.result).toMatchObject({ status: 'succeeded' });
    expect(world.state.steps['guard/a']?.status).toBe('failed');
    expect(world.state.steps['guard']?.status).toBe('succeeded');
  });

  test('lets a failure pass that no clause takes', async () => {
    const world = await run(planOf(guard(clauses), step('after')), failing('REF_NOT_FOUND'));
    expect(world.paths).toEqual(['guard/a']);
    expect(world.result).toMatchObject({ status: 'failed', error: { code: 'REF_NOT_FOUND' } });
  });

  test('without codes takes every failure', async () => {
    const world = await run(planOf(guard([{}])), failing('REF_NOT_FOUND'));
    expect(world.paths).toEqual(['guard/a', 'guard/catch/0/c0']);
  });

  test('shows its steps the error', async () => {
    const error: Expr = { op: 'name', name: 'problem' };
    const steps = [step('c', { with: [['error', expr(error)]] })];
    const world = await run(planOf(guard([{ as: 'problem', steps }])), failing('DISK_FULL'));
    expect(world.requests.at(-1)?.input).toEqual({
      error: { code: 'DISK_FULL', message: 'DISK_FULL happened', step: 'guard/a', hint: '' },
    });
  });

  test('takes neither a stop nor a cancellation', async () => {
    const stopped = await run(planOf(guard([{}], [step('clean')])), failing('TASK_NOT_LIVE'));
    expect(stopped.paths).toEqual(['guard/a', 'guard/finally/clean']);
    expect(stopped.result).toMatchObject({ status: 'stopped' });
    const cancelled = await run(planOf(guard([{}], [step('clean')])), ({ path }, self) => {
      if (path === 'guard/a') self.cancel();
      return ok();
    });
    expect(cancelled.paths).toEqual(['guard/a', 'guard/finally/clean']);
    expect(cancelled.result).toBe('cancelled');
  });

  test('takes no stop of a `finally` inside of it, also after a failure', async () => {
    const stop: PlanStep = { kind: 'stop', key: 'halt', reason: lit('enough') };
    const inside: PlanStep = { kind: 'try', key: 'inside', steps: [step('a')], finally: [stop] };
    const plan = planOf({ ...guard([{}]), steps: [inside] }, step('after'));
    const world = await run(plan, () => fail('DISK_FULL'));
    expect(world.paths).toEqual(['guard/inside/a']);
    expect(world.result).toMatchObject({ status: 'stopped', error: { message: 'enough' } });
    const cancelled = await run(plan, (_request, self) => {
      self.cancel();
      return ok();
    });
    expect(cancelled.result).toBe('cancelled');
  });

  test('a failure in it is the failure of the block, and `finally` runs after both', async () => {
    const world = await run(planOf(guard([{}], [step('clean')]), step('after')), ({ path }) =>
      path === 'guard/finally/clean' ? ok() : fail(path === 'guard/a' ? 'DISK_FULL' : 'DISK_LOW'),
    );
    expect(world.paths).toEqual(['guard/a', 'guard/catch/0/c0', 'guard/finally/clean']);
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'DISK_LOW', step: 'guard/catch/0/c0' },
    });
  });

  test('a clause that was not needed leaves no trace', async () => {
    const world = await run(planOf(guard([{}])), () => ok());
    expect(world.paths).toEqual(['guard/a', 'guard/b']);
  });
});

const wait = (overrides: Partial<WaitStep>): WaitStep => ({
  kind: 'wait',
  id: 'pause',
  key: 'pause',
  ...overrides,
});

describe('wait', () => {
  test('goes on when its time has passed', async () => {
    const world = await run(planOf(wait({ for: lit('1h30m') }), step('after')), () => ok());
    expect(world.slept).toEqual([5_400_000]);
    expect(world.paths).toEqual(['after']);
    expect(world.states[0]?.steps['pause']).toMatchObject({
      status: 'running',
      note: 'waits until 2026-01-01T01:30:00.000Z',
    });
    expect(world.state.steps['pause']?.status).toBe('succeeded');
  });

  test('goes on at a moment, at once when that has passed', async () => {
    const times = ['2026-01-01T00:00:30+00:00', '2025-12-31T00:00:00Z'];
    const steps = times.map((time, at) => wait({ key: `w${at}`, until: lit(time) }));
    expect((await run(planOf(...steps), () => ok())).slept).toEqual([30_000]);
  });

  test('waits what is left, where the run goes on from a state', async () => {
    const plan = planOf(wait({ for: lit('1h') }));
    const whole = await run(plan, () => ok());
    const [first] = whole.states;
    const initial = structuredClone(first ?? { steps: {} });
    const pause = initial.steps['pause'];
    expect(pause?.waitsUntil).toBe('2026-01-01T01:00:00.000Z');
    const half = { ...pause, waitsUntil: '2026-01-01T00:30:00.000Z' } as NonNullable<typeof pause>;
    const resumed = await run(plan, () => ok(), { initial: { steps: { pause: half } } });
    expect(resumed.slept).toEqual([1_800_000]);
  });

  test('fails with a code when what it waits for is no time', async () => {
    for (const broken of [{ for: lit('soon') }, { until: lit('tomorrow') }, { for: lit(5) }]) {
      const world = await run(planOf(wait(broken)), () => ok());
      expect(world.result).toMatchObject({ error: { code: 'EXPRESSION_FAILED', step: 'pause' } });
    }
  });
});

test('all of them, one in the other, end as the uninterrupted run, from the state after every event', async () => {
  // parallel(a, b -> loop(try look catch pause finally clean)) -> guard(a2 fails; catch c) -> each of them read
  const inner: PlanStep = {
    kind: 'try',
    key: '[0]',
    steps: [step('look')],
    catch: [
      { errors: ['DISK_FULL'], as: 'error', steps: [wait({ for: lit('1m') }), step('again')] },
    ],
    finally: [step('clean')],
  };
  const loop = repeat({
    everyMs: 90_000,
    collect: { op: 'name', name: 'n' },
    as: 'n',
    until: {
      op: 'call',
      fn: '_==_',
      args: [
        { op: 'name', name: 'n' },
        { op: 'lit', value: 2 },
      ],
    },
    steps: [inner],
  });
  const plan = planOf(
    parallel(
      {},
      {
        fail: 'wait',
        branches: [
          { step: step('b'), needs: [1] },
          { step: loop, needs: [] },
          { step: { ...guard([{}]), key: 'other' }, needs: [] },
        ],
      },
    ),
    guard([{}], [step('tidy')]),
    step('after', { with: [['x', expr(output('loop', 'results'))]] }),
  );
  const answer = ({ path }: StepRequest): StepOutcome =>
    path === '[0]/loop#1/[0]/look' || path === 'guard/a' || path === '[0]/other/b'
      ? fail('DISK_FULL')
      : ok({ value: path });
  const whole = await run(plan, answer);
  expect(whole.result).toMatchObject({ status: 'succeeded' });
  expect(whole.requests.at(-1)).toMatchObject({ path: 'after', input: { x: [0, 1, 2] } });
  const inputs = new Map(whole.requests.map(({ path, input }) => [path, JSON.stringify(input)]));
  for (const state of whole.states) {
    for (const initial of [state, toCarriedState(state)]) {
      const resumed = await run(plan, answer, { initial });
      expect(resumed.result).toEqual(whole.result);
      for (const { path, input } of resumed.requests)
        expect(JSON.stringify(input)).toBe(inputs.get(path));
      for (const path of resumed.paths)
        expect(['succeeded', 'failed']).not.toContain(state.steps[path]?.status);
      const ended = endingsOf(resumed.states.at(-1) ?? initial);
      if (initial === state) expect(ended).toEqual(endingsOf(whole.state));
      else expect(endingsOf(whole.state)).toMatchObject(ended);
    }
  }
  expect(Object.keys(toCarriedState(whole.state).steps)).not.toContain('[0]/loop#0/[0]/look');
});

// Which of two branches goes on first that are woken at one moment is in the history of a run.
test.each([
  { hasManyTurns: true, order: ['x', 'z', 'y'] },
  { hasManyTurns: false, order: ['x', 'y', 'z'] },
])('a step ends in as many turns as its run knows: $hasManyTurns', async ({ order, ...turns }) => {
  const pause: WaitStep = { kind: 'wait', key: '[0]', for: lit('1m') };
  const list = (key: string, ...steps: PlanStep[]): PlanStep & { kind: 'try' } => ({
    ...guard([]),
    id: key,
    key,
    steps,
  });
  const plan = planOf(
    parallel(
      {},
      {
        branches: [list('a', step('x'), step('y')), list('b', pause, step('z'))].map((one) => ({
          step: one,
          needs: [],
        })),
      },
    ),
  );
  const began: string[] = [];
  let wake: () => void = () => undefined;
  const woken = new Promise<void>((resolve) => (wake = resolve));
  let end: (outcome: StepOutcome) => void = () => undefined;
  const ended = new Promise<StepOutcome>((resolve) => (end = resolve));
  const { powers } = await run(planOf(), () => ok());
  const running = interpret(
    plan,
    { steps: {} },
    { runId: 'r', roundId: 'r', ...turns },
    {
      ...powers,
      runStep: ({ uses, path }) => {
        began.push(path.split('/').at(-1) ?? uses);
        return began.length === 1 ? ended : Promise.resolve(ok());
      },
      sleep: () => woken,
    },
  );
  await new Promise(setImmediate);
  wake();
  end(ok());
  expect(await running).toMatchObject({ status: 'succeeded' });
  expect(began).toEqual(order);
});
