import { createHash } from 'node:crypto';
import { array, assert, asyncProperty, boolean, constantFrom, nat } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fail, ok, run, type World } from '../test/support/interpreter-world.js';
import {
  callOf,
  expr,
  foreachOf,
  input,
  output,
  planOf,
  stepMaker,
} from '../test/support/plan-makers.js';
import type { Expr, Template } from './expression.js';
import type { ActivityStep, Plan, PlanStep } from './plan.js';
import type { StepOutcome, StepRequest } from './powers.js';
import { toRetryState, type RecordedOutputs } from './retry-state.js';
import type { RunState } from './run-state.js';

const step = stepMaker({
  timeoutMs: 60_000,
  retry: { attempts: 1, firstMs: 1, factor: 1, mostMs: 1, never: [] },
});

/** A step that returns its path and what it read of the steps before it. */
const reading = (
  id: string,
  of: readonly string[],
  more: Partial<ActivityStep> = {},
): ActivityStep =>
  step(id, {
    with: [['read', { t: 'list', items: of.map((from) => expr(output(from, 'value'))) }]],
    ...more,
  });

const answer = ({ path, input, uses }: StepRequest): StepOutcome =>
  uses === 'test.fails'
    ? fail('DISK_FULL')
    : ok({
        value: createHash('sha1')
          .update(JSON.stringify([path, input]))
          .digest('hex')
          .slice(0, 8),
      });

/** Runs a plan in which the `nth` start (from 0) ends with `code`. */
function runToFailure(
  plan: Plan,
  nth: number,
  code: string,
  initial?: RunState,
): ReturnType<typeof run> {
  let started = 0;
  return run(
    plan,
    (request) => {
      started += 1;
      return started - 1 === nth ? fail(code) : answer(request);
    },
    { decide: () => ({ action: 'fail' }), ...(initial === undefined ? {} : { initial }) },
  );
}

function outputsOf({ requests }: World): RecordedOutputs {
  return Object.fromEntries(
    requests.map((request) => {
      const outcome = answer(request);
      return [request.path, outcome.kind === 'succeeded' ? outcome.outputs : {}];
    }),
  );
}

const kept = (state: RunState): string[] => Object.keys(state.steps);

describe('the state of a retry', () => {
  // a -> each(work -> after) over x, y, z -> b
  const plan = planOf(
    reading('a', []),
    foreachOf(['x', 'y', 'z'], [reading('work', ['a']), reading('after', ['work'])], {
      limit: 1,
      fail: 'fast',
      collect: output('after', 'value'),
    }),
    reading('b', ['a']),
  );

  test('keeps what succeeded, and drops the blocks around what did not', async () => {
    // The 5th start is each#1/after.
    const { state } = await runToFailure(plan, 4, 'PROGRAM_FAILED');
    expect(state.steps['each']?.status).toBe('failed');
    expect(kept(toRetryState(plan, state))).toEqual(['a', 'each#0/work', 'each#0/after', 'each#0']);
  });

  test('keeps the steps of an item that failed when their outputs were recorded', async () => {
    const first = await runToFailure(plan, 4, 'PROGRAM_FAILED');
    expect(first.state.steps['each#1/work']).toMatchObject({ status: 'succeeded' });
    expect(first.state.steps['each#1/work']?.outputs).toBeUndefined();
    const retry = toRetryState(plan, first.state, undefined, outputsOf(first));
    expect(kept(retry)).toContain('each#1/work');
    const second = await run(plan, answer, { initial: retry });
    expect(second.paths).toEqual(['each#1/after', 'each#2/work', 'each#2/after', 'b']);
    expect(second.result).toEqual((await run(plan, answer)).result);
  });

  test('asks a skipped step again', async () => {
    const asked = planOf(
      step('maybe', { if: { op: 'lit', value: false } }),
      reading('a', []),
      reading('b', ['a']),
    );
    const { state } = await runToFailure(asked, 1, 'PROGRAM_FAILED');
    expect(kept(toRetryState(asked, state))).toEqual(['a']);
  });

  test('begins steps that were parked, under way or cancelled anew, from their first start', () => {
    const { steps } = toRetryState(planOf(step('a'), step('b')), {
      steps: {
        a: { status: 'parked', uses: 'test.step', attempts: 7 },
        b: { status: 'running', uses: 'test.step', attempts: 3 },
      },
    });
    expect(steps).toEqual({});
  });

  test('keeps the decisions that were counted', () => {
    const decisions = { d1: { step: 'a', action: 'value' } };
    expect(toRetryState(plan, { steps: {}, decisions })).toEqual({ steps: {}, decisions });
  });

  test('from a step on drops it and all that comes after it, as the item of a list is alone', async () => {
    const { state } = await run(plan, answer);
    expect(kept(toRetryState(plan, state, 'b'))).not.toContain('b');
    expect(kept(toRetryState(plan, state, 'b'))).toContain('each');
    expect(kept(toRetryState(plan, state, 'each'))).toEqual(['a']);
    expect(kept(toRetryState(plan, state, 'a'))).toEqual([]);
    const ofItem = kept(toRetryState(plan, state, 'each#1/after'));
    expect(ofItem).toEqual(expect.arrayContaining(['a', 'each#0', 'each#2']));
    expect(ofItem).not.toContain('each#1');
    expect(ofItem).not.toContain('each');
    // The id of a step of items means that step of each of them.
    expect(kept(toRetryState(plan, state, 'work'))).toEqual(['a']);
    expect(kept(toRetryState(plan, state, 'each#1'))).not.toContain('each#1');
  });

  test('from a step on, a kept step has read kept steps only', async () => {
    // a -> b(a) -> c(b) -> d(a): d would not read c, and still comes after it
    const chain = planOf(
      reading('a', []),
      reading('b', ['a']),
      reading('c', ['b']),
      reading('d', ['a']),
    );
    const { state } = await run(chain, answer);
    const retry = toRetryState(chain, state, 'b');
    expect(kept(retry)).toEqual(['a']);
    const changed = await run(
      chain,
      (request) => (request.path === 'b' ? ok({ value: 'another' }) : answer(request)),
      { initial: retry },
    );
    expect(changed.paths).toEqual(['b', 'c', 'd']);
    expect(changed.requests[1]?.input).toEqual({ read: ['another'] });
  });

  test('refuses a step that is not there, and lists those that are', () => {
    expect(() => toRetryState(plan, { steps: {} }, 'wrok')).toThrow(
      'The pipeline test has no step `wrok`; it has a, each, each#0/work, each#0/after, b.',
    );
  });

  describe('of a try', () => {
    const effect = { effect: true } as const;
    // guard(train -> claim* -> submit*; finally cancel*) -> after
    const guarded = planOf(
      {
        kind: 'try',
        id: 'guard',
        key: 'guard',
        steps: [
          reading('train', []),
          reading('claim', ['train'], effect),
          reading('submit', ['claim'], effect),
        ],
        finally: [reading('cancel', [], effect)],
      },
      reading('after', ['submit']),
    );

    test('does again what its `finally` took back, and keeps what no effect was', async () => {
      const { state } = await runToFailure(guarded, 2, 'CLAIM_EXPIRED');
      expect(state.steps['guard/claim']?.status).toBe('succeeded');
      const retry = toRetryState(guarded, state);
      expect(kept(retry)).toEqual(['guard/train']);
      const second = await run(guarded, answer, { initial: retry });
      expect(second.paths).toEqual([
        'guard/claim',
        'guard/submit',
        'guard/finally/cancel',
        'after',
      ]);
    });

    test('keeps its steps when its `finally` changed nothing outside', async () => {
      const harmless = planOf({
        kind: 'try',
        key: 'guard',
        steps: [reading('claim', [], effect), reading('submit', ['claim'], effect)],
        finally: [reading('report', [])],
      });
      const { state } = await runToFailure(harmless, 1, 'CLAIM_EXPIRED');
      expect(kept(toRetryState(harmless, state))).toEqual(['guard/claim']);
    });

    test('stays whole when it succeeded', async () => {
      const { state } = await runToFailure(guarded, 4, 'PROGRAM_FAILED');
      expect(kept(toRetryState(guarded, state))).toEqual([
        'guard/train',
        'guard/claim',
        'guard/submit',
        'guard/finally/cancel',
        'guard',
      ]);
    });
  });
});

describe('the state of a retry, of a block that', () => {
  const caught: PlanStep & { kind: 'try' } = {
    kind: 'try',
    key: 'guard',
    steps: [reading('a', []), step('bad', { uses: 'test.fails' })],
    catch: [{ as: 'error', steps: [reading('instead', [])] }],
    finally: [],
  };

  test('caught a failure is kept with what its steps gave, in an item too, or begins again', async () => {
    const plan = planOf(foreachOf(['x'], [caught, reading('b', ['instead'])]));
    const first = await runToFailure(plan, 3, 'PROGRAM_FAILED');
    expect(first.paths.at(-1)).toBe('each#0/b');
    const known = toRetryState(plan, first.state, undefined, outputsOf(first));
    const second = await run(plan, answer, { initial: known });
    expect(second.requests.map(({ path, input }) => ({ path, input }))).toEqual([
      { path: 'each#0/b', input: first.requests.at(-1)?.input },
    ]);
    const unknown = await run(plan, answer, { initial: toRetryState(plan, first.state) });
    expect(unknown.paths[0]).toBe('each#0/guard/a');
  });

  test('caught a failure begins again from a step of a clause that did not run', async () => {
    const plan = planOf({ ...caught, steps: [reading('a', [])] }, step('after'));
    const { state } = await run(plan, answer);
    const second = await run(plan, answer, { initial: toRetryState(plan, state, 'instead') });
    expect(second.paths).toEqual(['after']);
  });

  test('has used up its limit begins at its first iteration', async () => {
    const loop: PlanStep = {
      kind: 'repeat',
      key: 'loop',
      limit: 2,
      until: { op: 'lit', value: false },
      steps: [step('look')],
    };
    const plan = planOf(step('a'), loop);
    const { state } = await run(plan, answer);
    expect(state.steps['loop']?.error?.code).toBe('REPEAT_LIMIT_REACHED');
    expect(kept(toRetryState(plan, state))).toEqual(['a']);
    const half = await runToFailure(plan, 2, 'PROGRAM_FAILED');
    expect(kept(toRetryState(plan, half.state))).toEqual(['a', 'loop#0/look', 'loop#0']);
  });
});

/** Lists of steps, nested up to twice; a step reads all that it certainly can. */
function makePlan(seed: readonly number[]): Plan {
  let at = 0;
  let ids = 0;
  const pick = (below: number): number => (seed[at++ % seed.length] ?? 0) % below;
  const list = (depth: number, visible: Expr[]): PlanStep[] =>
    Array.from({ length: 1 + pick(3) }, () => make(depth, visible));
  const make = (depth: number, visible: Expr[]): PlanStep => {
    const id = `s${ids++}`;
    switch (depth === 0 ? 5 : pick(12)) {
      case 1: {
        const inside = [...visible];
        const steps = list(depth - 1, inside);
        const collect = inside.at(-1) ?? { op: 'lit', value: 1 };
        visible.push(output(id, 'results'));
        return foreachOf(['x', 'y', 'z'], steps, { id, key: id, limit: 1 + pick(2), collect });
      }
      case 2: {
        const steps = list(depth - 1, visible);
        const clean = reading(`${id}f`, [], pick(2) === 0 ? { effect: true } : {});
        return { kind: 'try', id, key: id, steps, finally: [clean] };
      }
      case 3: {
        const value = pick(2) === 0;
        const branch = list(depth - 1, visible);
        const [then, otherwise] = value ? [branch, []] : [[], branch];
        return { kind: 'if', id, key: id, test: { op: 'lit', value }, then, else: otherwise };
      }
      case 7: {
        // Each branch needs the one before it, or none, and reads it.
        const branches: Array<{ step: PlanStep; needs: number[] }> = [];
        let before = visible;
        const made: Expr[] = [];
        for (let index = 0; index < 2 + pick(2); index += 1) {
          const needs = index > 0 && pick(2) === 0 ? [index - 1] : [];
          const seen = needs.length === 0 ? [...visible] : [...before];
          const known = seen.length;
          branches.push({ step: make(depth - 1, seen), needs });
          made.push(...seen.slice(known));
          before = seen;
        }
        visible.push(...made);
        const limit = 1 + pick(3);
        return { kind: 'parallel', id, key: id, limit, fail: 'fast', branches };
      }
      case 8: {
        const inside = [...visible];
        const steps = list(depth - 1, inside);
        const collect = inside.at(-1) ?? { op: 'lit', value: 1 };
        visible.push(output(id, 'results'));
        return { kind: 'repeat', id, key: id, limit: 1 + pick(3), collect, steps };
      }
      case 9: {
        const steps = [...list(depth - 1, [...visible]), step(`${id}x`, { uses: 'test.fails' })];
        const caught = list(depth - 1, [...visible]);
        const clause = { errors: ['DISK_FULL'], as: 'error', steps: caught };
        return { kind: 'try', id, key: id, steps, catch: [clause], finally: [] };
      }
      case 10: {
        // It reads what it is given, and gives all that it made.
        const given: Template = { t: 'list', items: visible.map(expr) };
        const inside: Expr[] = [input('given')];
        const steps = list(depth - 1, inside);
        visible.push(output(id, 'all'));
        return callOf(
          id,
          steps,
          {
            inputs: [{ name: 'given' }],
            outputs: [['all', { t: 'list', items: inside.map(expr) }]],
          },
          { with: [['given', given]] },
        );
      }
      case 4:
        return step(id, { if: { op: 'lit', value: false } });
      default: {
        const read: Template = { t: 'list', items: visible.map(expr) };
        visible.push(output(id, 'value'));
        const effect = pick(4) === 0 ? { effect: true as const } : {};
        return step(id, { with: [['read', read]], ...effect });
      }
    }
  };
  const visible: Expr[] = [];
  const steps = list(2, visible);
  return { ...planOf(...steps), outputs: [['all', { t: 'list', items: visible.map(expr) }]] };
}

test('a retry after a failure at any step ends as the run that was not interrupted', async () => {
  let retried = 0;
  let reused = 0;
  await assert(
    asyncProperty(
      array(nat(1_000), { minLength: 12, maxLength: 40 }),
      constantFrom('PROGRAM_FAILED', 'TASK_NOT_LIVE'),
      boolean(),
      async (seed, code, isRecorded) => {
        const plan = makePlan(seed);
        const whole = await run(plan, answer);
        expect(whole.result).toMatchObject({ status: 'succeeded' });
        const inputs = new Map(whole.requests.map(({ path, input }) => [path, input]));
        for (let nth = 0; nth < whole.requests.length; nth += 1) {
          const first = await runToFailure(plan, nth, code);
          const recorded = isRecorded ? outputsOf(first) : {};
          const state = toRetryState(plan, first.state, undefined, recorded);
          const second = await run(plan, answer, { initial: state });
          expect(second.result).toEqual(whole.result);
          for (const { path, input, start } of second.requests) {
            expect(input).toEqual(inputs.get(path));
            expect(start).toBe(1);
            expect(state.steps[path]).toBeUndefined();
          }
          retried += 1;
          if (Object.keys(state.steps).length > 0) reused += 1;
        }
      },
    ),
    { numRuns: 150, seed: 4 },
  );
  expect(retried).toBeGreaterThan(500);
  expect(reused).toBeGreaterThan(retried / 2);
});

test('a retry from any step runs it and what comes after it, and ends as the whole run', async () => {
  await assert(
    asyncProperty(array(nat(1_000), { minLength: 12, maxLength: 40 }), async (seed) => {
      const plan = makePlan(seed);
      const whole = await run(plan, answer);
      for (const { path } of whole.requests) {
        const state = toRetryState(plan, whole.state, path, outputsOf(whole));
        const second = await run(plan, answer, { initial: state });
        expect(second.paths).toContain(path);
        expect(second.result).toEqual(whole.result);
      }
    }),
    { numRuns: 60, seed: 5 },
  );
});
