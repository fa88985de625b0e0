import { describe, expect, test } from 'vitest';
import { endingsOf, guard, parallel, step } from '../test/support/block-makers.js';
import { fail, ok, run } from '../test/support/interpreter-world.js';
import { expr, foreachOf, lit, output, planOf } from '../test/support/plan-makers.js';
import type { Expr } from './expression.js';
import type { PlanStep } from './plan.js';
import type { StepOutcome, StepRequest } from './powers.js';

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const names = (paths: readonly string[]): string[] =>
  paths.map((path) => path.slice(path.lastIndexOf('/') + 1));

describe('parallel', () => {
  test('starts each branch when all that it needs has ended well, and what is behind it at last', async () => {
    // a, b -> c(a, b), d(a) -> after
    const plan = planOf(parallel({ a: [], b: [], c: ['a', 'b'], d: ['a'] }), step('after'));
    const ended: string[] = [];
    const world = await run(plan, async ({ path }) => {
      const name = names([path])[0] ?? '';
      const needed = { c: ['a', 'b'], d: ['a'], after: ['a', 'b', 'c', 'd'] }[name] ?? [];
      expect(ended).toEqual(expect.arrayContaining(needed));
      // `b` takes longest.
      for (let turns = name === 'b' ? 5 : 1; turns > 0; turns -= 1) await nextTurn();
      ended.push(name);
      return ok();
    });
    expect(names(world.paths)).toEqual(['a', 'b', 'd', 'c', 'after']);
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('runs at most `limit` branches at one time, the first in the document first', async () => {
    const plan = planOf(parallel({ a: [], b: [], c: [], d: [] }, { limit: 2 }));
    let running = 0;
    const world = await run(plan, async () => {
      running += 1;
      expect(running).toBeLessThanOrEqual(2);
      await nextTurn();
      running -= 1;
      return ok();
    });
    expect(names(world.paths)).toEqual(['a', 'b', 'c', 'd']);
  });

  test('gives a branch the outputs of those that it needs, and what follows those of all', async () => {
    const plan = planOf(
      parallel(
        {},
        {
          branches: [
            { step: step('a'), needs: [] },
            { step: step('b', { with: [['x', expr(output('a', 'value'))]] }), needs: [0] },
          ],
        },
      ),
      step('after', { with: [['x', expr(output('b', 'value'))]] }),
    );
    const world = await run(plan, ({ path }) => ok({ value: path }));
    expect(world.requests.map(({ input }) => input)).toEqual([{}, { x: '[0]/a' }, { x: '[0]/b' }]);
  });

  test('a branch that was skipped holds nobody back', async () => {
    const skipped = step('a', { if: { op: 'lit', value: false } });
    const plan = planOf(
      parallel(
        {},
        {
          branches: [
            { step: skipped, needs: [] },
            { step: step('b'), needs: [0] },
          ],
        },
      ),
    );
    const world = await run(plan, () => ok());
    expect(names(world.paths)).toEqual(['b']);
  });

  test('with fail: fast cancels the others and ends with the first failure', async () => {
    const world = await run(planOf(parallel({ a: [], b: [], c: ['a'] })), async ({ path }) => {
      if (path === '[0]/b') return fail('PATCH_EMPTY');
      await nextTurn();
      return ok();
    });
    expect(world.result).toMatchObject({
      status: 'failed',
      error: { code: 'PATCH_EMPTY', step: '[0]/b' },
    });
    expect(names(world.paths)).toEqual(['a', 'b']);
    expect(world.state.steps['[0]/a']?.status).toBe('cancelled');
  });

  test('cancels no more than its own branches: what catches the failure goes on', async () => {
    const caught: PlanStep = {
      ...guard([{}]),
      steps: [parallel({ a: [], b: [] }, { key: 'both' })],
    };
    const answer = async ({ path }: StepRequest): Promise<StepOutcome> => {
      if (path === 'guard/both/b') return fail('PATCH_EMPTY');
      await nextTurn();
      return ok();
    };
    const world = await run(planOf(caught, step('after')), answer, { nested: true });
    expect(names(world.paths)).toEqual(['a', 'b', 'c0', 'after']);
    expect(world.state.steps['guard/both/a']?.status).toBe('cancelled');
    expect(world.result).toMatchObject({ status: 'succeeded' });
  });

  test('that was broken off starts nothing again, wherever the run goes on from', async () => {
    // guard(both(a try finally clean, b fails); catch c0) -> each(work, fails in y) caught -> after
    const tidied: PlanStep = {
      kind: 'try',
      key: 'tidied',
      steps: [step('a')],
      finally: [step('clean')],
    };
    const both = parallel(
      {},
      {
        key: 'both',
        branches: [
          { step: tidied, needs: [] },
          { step: step('b'), needs: [] },
          { step: step('never'), needs: [0] },
        ],
      },
    );
    const each = foreachOf(['x', 'y', 'z'], [{ ...tidied, key: '[0]' }], { limit: 2 });
    const plan = planOf(
      { ...guard([{}]), steps: [both] },
      { ...guard([{}]), id: 'other', key: 'other', steps: [each] },
      step('after'),
    );
    const answer = async ({ path }: StepRequest): Promise<StepOutcome> => {
      if (path === 'guard/both/b' || path === 'other/each#1/[0]/a') return fail('PATCH_EMPTY');
      // The item that fails ends when its `finally` has.
      for (let turns = path.includes('#0/[0]/a') ? 5 : 1; turns > 0; turns -= 1) await nextTurn();
      return ok();
    };
    const whole = await run(plan, answer, { nested: true });
    expect(whole.result).toMatchObject({ status: 'succeeded' });
    expect(whole.state.steps['other/each#0']?.status).toBe('cancelled');
    for (const initial of whole.states) {
      const resumed = await run(plan, answer, { initial, nested: true });
      expect(resumed.result).toEqual(whole.result);
      for (const path of resumed.paths) {
        const status = initial.steps[path]?.status;
        expect({ path, status }).not.toEqual({ path, status: 'cancelled' });
      }
      expect(endingsOf(resumed.states.at(-1) ?? initial)).toEqual(endingsOf(whole.state));
    }
  });

  test('that ended at `--until` starts nothing again, wherever the run goes on from', async () => {
    const plan = planOf(parallel({ a: [], b: [], c: ['b'] }));
    const answer = async ({ path }: StepRequest): Promise<StepOutcome> => {
      for (let turns = path === '[0]/a' ? 5 : 1; turns > 0; turns -= 1) await nextTurn();
      return ok();
    };
    const whole = await run(plan, answer, { nested: true, until: 'b' });
    expect(whole.result).toMatchObject({ status: 'stopped', error: { code: 'UNTIL_REACHED' } });
    for (const initial of whole.states) {
      const resumed = await run(plan, answer, { initial, nested: true, until: 'b' });
      expect(resumed.result).toEqual(whole.result);
      for (const path of resumed.paths) expect(initial.steps[path]?.status).not.toBe('cancelled');
    }
  });

  test('shows a `finally` around it what its branches gave, wherever the run goes on from', async () => {
    const claimed: Expr = {
      op: 'has',
      of: { op: 'name', name: 'steps' },
      key: 'claim',
    };
    const plan = planOf({
      kind: 'try',
      key: 'guard',
      steps: [parallel({ claim: [], bad: ['claim'] }, { key: 'both' })],
      finally: [step('release', { if: claimed, with: [['x', expr(output('claim', 'value'))]] })],
    });
    const answer = ({ path }: StepRequest): StepOutcome =>
      path.endsWith('bad') ? fail('DISK_FULL') : ok({ value: 1 });
    const whole = await run(plan, answer);
    expect(whole.requests.at(-1)).toMatchObject({
      path: 'guard/finally/release',
      input: { x: 1 },
    });
    for (const initial of whole.states) {
      const resumed = await run(plan, answer, { initial });
      expect(endingsOf(resumed.states.at(-1) ?? initial)).toEqual(endingsOf(whole.state));
    }
  });

  test('with fail: wait runs what needs nothing that failed, and then fails with the first in the document', async () => {
    const plan = planOf(parallel({ a: [], b: [], c: ['a'], d: ['b'] }, { fail: 'wait' }));
    const world = await run(plan, async ({ path }) => {
      if (path === '[0]/d') return fail('DISK_FULL');
      if (path !== '[0]/a') return ok();
      // Later than the other failure.
      for (let turns = 5; turns > 0; turns -= 1) await nextTurn();
      return fail('PATCH_EMPTY');
    });
    expect(names(world.paths)).toEqual(['a', 'b', 'd']);
    expect(world.result).toMatchObject({ error: { code: 'PATCH_EMPTY', step: '[0]/a' } });
    expect(world.state.steps['[0]/c']).toBeUndefined();
  });

  test('does not wait out a stop', async () => {
    const stop: PlanStep = { kind: 'stop', key: 'halt', reason: lit('enough') };
    const branches = [
      { step: stop, needs: [] },
      { step: step('b'), needs: [] },
    ];
    const plan = planOf(parallel({}, { branches, fail: 'wait', limit: 1 }));
    const world = await run(plan, () => ok());
    expect(world.result).toMatchObject({ status: 'stopped', error: { message: 'enough' } });
    expect(world.paths).toEqual([]);
  });

  test('ends as cancelled, and every `finally` in it runs', async () => {
    const guarded: PlanStep = {
      kind: 'try',
      key: 'guard',
      steps: [step('work')],
      finally: [step('clean')],
    };
    const branches = [
      { step: guarded, needs: [] },
      { step: step('b'), needs: [] },
    ];
    const world = await run(planOf(parallel({}, { branches })), async ({ path }, self) => {
      if (path === '[0]/b') self.cancel();
      else await nextTurn();
      return ok();
    });
    expect(world.result).toBe('cancelled');
    expect(world.state.steps['[0]/guard/finally/clean']?.status).toBe('succeeded');
  });
});
