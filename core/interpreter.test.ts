import { describe, expect, test } from 'vitest';
import type { Expr, Template } from './expression.js';
import { interpret } from './interpreter.js';
import type { Powers, StepOutcome, StepRequest } from './powers.js';
import type { JsonObject } from './json.js';
import type { ActivityStep, ForeachStep, Plan, PlanStep } from './plan.js';
import type { RunResult, RunState } from './run-state.js';

class Cancelled extends Error {}

const OPTIONS = {
  timeoutMs: 60_000,
  retry: { attempts: 1, firstMs: 1_000, factor: 2, mostMs: 10_000, never: [] },
} as const;

const lit = (value: string | number | boolean): Template => ({ t: 'value', value });
const output = (id: string, key: string): Expr => ({
  op: 'member',
  of: { op: 'member', of: { op: 'name', name: 'steps' }, key: id },
  key,
});

function step(id: string, overrides: Partial<ActivityStep> = {}): ActivityStep {
  return {
    kind: 'step',
    id,
    key: id,
    uses: 'test.step',
    with: [],
    optional: [],
    host: [],
    options: OPTIONS,
    ...overrides,
  };
}

function foreach(items: readonly string[], overrides: Partial<ForeachStep> = {}): ForeachStep {
  return {
    kind: 'foreach',
    id: 'each',
    key: 'each',
    items: { op: 'lit', value: [...items] },
    as: 'item',
    limit: 2,
    fail: 'fast',
    steps: [step('work', { with: [['item', { t: 'expr', expr: { op: 'name', name: 'item' } }]] })],
    ...overrides,
  };
}

function planOf(...steps: PlanStep[]): Plan {
  return {
    irVersion: 1,
    pipeline: 'test',
    sourceSha256: '0'.repeat(64),
    network: { coordinator: '', hotkey: '' },
    inputs: {},
    steps,
    outputs: [],
  };
}

const ok = (outputs: JsonObject = {}): StepOutcome => ({ kind: 'succeeded', outputs });
const fail = (code: string, retryable = false): StepOutcome => ({
  kind: 'failed',
  error: { code, message: `${code} happened` },
  retryable,
});

/** Runs a plan with outcomes of the test's own; time passes only in `sleep`. */
async function run(
  plan: Plan,
  answer: (request: StepRequest, world: World) => StepOutcome | Promise<StepOutcome>,
  initial: RunState = { steps: {} },
): Promise<World & { result: RunResult | 'cancelled' }> {
  const world = new World(answer);
  let result: RunResult | 'cancelled';
  try {
    result = await interpret(plan, initial, { runId: 'run-1', roundId: 'run-1' }, world.powers);
  } catch (error) {
    if (!(error instanceof Cancelled)) throw error;
    result = 'cancelled';
  }
  return Object.assign(world, { result });
}

class World {
  readonly requests: StepRequest[] = [];
  readonly slept: number[] = [];
  readonly states: RunState[] = [];
  readonly powers: Powers;
  #now = Date.parse('2026-01-01T00:00:00Z');
  #shield = 0;
  cancelled = false;

  constructor(answer: (request: StepRequest, world: World) => StepOutcome | Promise<StepOutcome>) {
    const interruptible = (): void => {
      if (this.cancelled && this.#shield === 0) throw new Cancelled();
    };
    this.powers = {
      runStep: async (request) => {
        interruptible();
        this.requests.push(request);
        const outcome = await answer(request, this);
        interruptible();
        return outcome;
      },
      sleep: async (ms) => {
        interruptible();
        this.slept.push(ms);
        this.#now += ms;
      },
      now: () => this.#now,
      random: () => 0.5,
      isCancellation: (error) => error instanceof Cancelled,
      shielded: async (body) => {
        this.#shield += 1;
        try {
          return await body();
        } finally {
          this.#shield -= 1;
        }
      },
      scoped: (body) =>
        body(() => {
          this.cancelled = true;
        }),
      changed: (steps) => this.states.push({ steps: Object.fromEntries(steps) }),
    };
  }

  get paths(): string[] {
    return this.requests.map((request) => request.path);
  }

  get state(): RunState {
    return this.states.at(-1) ?? { steps: {} };
  }
}

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
    const world = await run(planOf(foreach([], { fail: 'wait' })), () => ok());
    expect(world.state.steps['each']?.outputs).toEqual({ results: [], failures: [] });
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
      if (path === 'guard/a') self.cancelled = true;
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
      steps: { before },
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
      const resumed = await run(plan, answer, state);
      expect(resumed.result).toEqual(whole.result);
      for (const { path, input } of resumed.requests)
        expect(JSON.stringify(input)).toBe(inputs.get(path));
      for (const path of resumed.paths) expect(state.steps[path]?.status).not.toBe('succeeded');
    }
  });
});
