/** `parallel`, `repeat`, `catch` and `wait` on a real server; what each means is tested in core/interpreter-blocks.test.ts. */
import { WorkflowFailedError } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { StepError } from '../../core/error.js';
import type { Expr } from '../../core/expression.js';
import type { PlanStep } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import { STATE_QUERY } from '../../workflows/contract.js';
import {
  callOf,
  expr,
  foreachOf,
  input,
  lit,
  output,
  planOf,
  stepMaker,
} from '../support/plan-makers.js';
import { until } from '../support/until.js';
import { activityIds, openRuns, type Runs } from '../support/workflow-runs.js';

const step = stepMaker({
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 1, firstMs: 10, factor: 1, mostMs: 10, never: [] },
});

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

describe.each([
  ['with cached workflows', 10],
  ['with every task replayed', 0],
])('blocks of a run on a real server, %s', (_name, maxCachedWorkflows) => {
  test('run side by side, again and again, in place of a failure, and after a pause', async () => {
    // both(first, loop(look) three times, last needs loop) -> guard(fails; catch instead) -> pause -> after
    const loop: PlanStep = {
      kind: 'repeat',
      id: 'loop',
      key: 'loop',
      limit: 10,
      everyMs: 300,
      until: output('look', 'done'),
      collect: output('look', 'n'),
      as: 'n',
      steps: [step('look', { with: [['n', expr({ op: 'name', name: 'n' })]] })],
    };
    const plan = planOf(
      {
        kind: 'parallel',
        key: 'both',
        limit: 2,
        fail: 'wait',
        branches: [
          { step: step('first'), needs: [] },
          { step: loop, needs: [] },
          {
            step: step('last', { with: [['seen', expr(output('loop', 'results'))]] }),
            needs: [0, 1],
          },
        ],
      },
      {
        kind: 'try',
        key: 'guard',
        steps: [step('fails')],
        catch: [
          {
            errors: ['DISK_FULL'],
            as: 'error',
            steps: [
              step('instead', {
                with: [
                  ['code', expr({ op: 'member', of: { op: 'name', name: 'error' }, key: 'code' })],
                ],
              }),
            ],
          },
        ],
        finally: [],
      },
      { kind: 'wait', key: 'pause', for: lit('200ms') },
      step('after', { with: [['iterations', expr(output('loop', 'iterations'))]] }),
    );
    const inputs: unknown[] = [];
    await runs.withRun(
      {
        plan,
        behaviour: async (input, { call }) => {
          if (call.path === 'guard/fails') throw new StepError('DISK_FULL', 'The disk is full.');
          if (['both/last', 'guard/catch/0/instead', 'after'].includes(call.path))
            inputs.push(input);
          return { n: input['n'] ?? null, done: input['n'] === 2 };
        },
        maxCachedWorkflows,
      },
      async ({ handle }) => {
        const view = (await handle.result()) as RunView;
        expect(view.steps.map(({ path, status }) => `${path} ${status}`)).toEqual([
          'both succeeded',
          'both/first succeeded',
          'both/loop succeeded',
          'both/loop#0 succeeded',
          'both/loop#0/look succeeded',
          'both/loop#1 succeeded',
          'both/loop#1/look succeeded',
          'both/loop#2 succeeded',
          'both/loop#2/look succeeded',
          'both/last succeeded',
          'guard succeeded',
          'guard/fails failed',
          'guard/catch/0/instead succeeded',
          'pause succeeded',
          'after succeeded',
        ]);
        expect(inputs).toEqual([{ seen: [0, 1, 2] }, { code: 'DISK_FULL' }, { iterations: 3 }]);
        // The last one records the end.
        expect((await activityIds(handle)).slice(0, -1)).toEqual([
          'both/first',
          'both/loop#0/look',
          'both/loop#1/look',
          'both/loop#2/look',
          'both/last',
          'guard/fails',
          'guard/catch/0/instead',
          'after',
        ]);
      },
    );
  });

  test('a pause says until when it waits, and ends with a cancellation', async () => {
    const plan = planOf({ kind: 'wait', key: 'pause', for: lit('2h') }, step('never'));
    await runs.withRun(
      { plan, behaviour: async () => ({}), maxCachedWorkflows },
      async ({ handle }) => {
        const pause = await until('the pause', async () => {
          const view = (await handle.query(STATE_QUERY)) as RunView;
          return view.steps.find(({ path, status }) => path === 'pause' && status === 'running');
        });
        expect(pause.note).toMatch(/^waits until \d{4}-\d{2}-\d{2}T/);
        await handle.cancel();
        await expect(handle.result()).rejects.toBeInstanceOf(WorkflowFailedError);
        const { steps, status } = (await handle.query(STATE_QUERY)) as RunView;
        expect(status).toBe('cancelled');
        expect(steps.map((one) => `${one.path} ${one.status}`)).toEqual([
          'pause cancelled',
          'never pending',
        ]);
      },
    );
  });
});

test('a list goes on beside a failed item, a call takes its inputs, a condition stops the run', async () => {
  // each(two of three succeed) -> call(inner reads its input) -> stop, as each has failures
  const failures: Expr = { op: 'call', fn: 'size', args: [output('each', 'failures')] };
  const plan = planOf(
    foreachOf(['x', 'y', 'z'], [step('work')], { fail: 'wait' }),
    callOf(
      'call',
      [step('inner', { with: [['count', expr(input('count'))]] })],
      { inputs: [{ name: 'count' }] },
      { with: [['count', expr(failures)]] },
    ),
    {
      kind: 'stop',
      key: 'enough',
      if: { op: 'call', fn: '_>_', args: [failures, { op: 'lit', value: 0 }] },
      reason: lit('One has failed.'),
    },
    step('never'),
  );
  const counts: unknown[] = [];
  await runs.withRun(
    {
      plan,
      behaviour: async ({ count }, { call }) => {
        if (call.path === 'each#1/work') throw new StepError('DISK_FULL', 'The disk is full.');
        if (call.path === 'call/inner') counts.push(count);
        return {};
      },
      maxCachedWorkflows: 0,
    },
    async ({ handle, start }) => {
      expect(await handle.result()).toMatchObject({
        status: 'stopped',
        error: { code: 'STOPPED', message: 'One has failed.' },
      });
      expect(counts).toEqual([1]);
      // What a newer build has made it does not begin.
      const newer = await start({ ...plan, irVersion: 2 as 1 });
      await expect(newer.result()).rejects.toMatchObject({
        cause: {
          type: 'PLAN_VERSION_UNKNOWN',
          message: 'This worker interprets plans of version 1, not 2.',
        },
      });
      expect(await activityIds(newer)).toEqual([]);
    },
  );
});
