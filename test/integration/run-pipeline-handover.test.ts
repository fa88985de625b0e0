/** Runs whose history grows long, on a real server: they go on as new executions, and nothing of them changes. */
import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { StepError } from '../../core/error.js';
import type { Expr } from '../../core/expression.js';
import type { Plan, PlanStep } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import { expr, lit, output, planOf, stepMaker } from '../support/plan-makers.js';
import {
  activityIds,
  decide,
  openRuns,
  recordHistory,
  untilStep,
  type Runs,
} from '../support/workflow-runs.js';

const step = stepMaker({
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 3, firstMs: 10, factor: 1, mostMs: 10, never: [] },
});

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

const text: Expr = { op: 'member', of: { op: 'name', name: 'inputs' }, key: 'text' };

/** A step with an input of 500 KB: a server suggests a new history after 4 MiB. */
const large = (id: string): PlanStep =>
  step(id, { with: [['text', { t: 'text', parts: [text, text] }]] });

function largePlan(...steps: PlanStep[]): Plan {
  return { ...planOf(...steps), inputs: { text: 'x'.repeat(250_000) } };
}

const chain = (name: string, count: number): PlanStep[] =>
  Array.from({ length: count }, (_one, index) => large(`${name}${index}`));

/** Number of events of each execution of a run, once the server lists `least` of them. */
async function executionsOf({ workflowId }: WorkflowHandle, least: number): Promise<number[]> {
  const lengths: number[] = [];
  await expect
    .poll(async () => {
      lengths.length = 0;
      const query = `WorkflowId="${workflowId}"`;
      for await (const { historyLength } of runs.client.workflow.list({ query }))
        lengths.push(historyLength);
      return lengths.length;
    })
    .toBeGreaterThanOrEqual(least);
  return lengths;
}

/** Waits until the run goes on in another execution, and gives its id. */
async function untilHandedOver({ workflowId }: WorkflowHandle, from: string): Promise<string> {
  let now = from;
  await expect
    .poll(
      async () => {
        now = (await runs.client.workflow.getHandle(workflowId).describe()).runId;
        return now !== from;
      },
      { timeout: 60_000, interval: 20 },
    )
    .toBe(true);
  return now;
}

test('a run with a long history goes on with a new one: what waits, waits on', async () => {
  // all( s0 -> … -> s29, asks (parked), pause, again (tried twice) ) -> last
  const starts = new Map<string, number>();
  const lockId = `adit-round:handover-${Date.now()}`;
  const pausedUntil = new Date(Date.now() + 4_000).toISOString();
  const plan = largePlan(
    {
      kind: 'parallel',
      key: 'all',
      limit: 10,
      fail: 'fast',
      branches: [
        {
          step: { kind: 'try', key: 'chain', steps: chain('s', 30), finally: [] },
          needs: [],
        },
        {
          step: step('asks', { options: { ...step('asks').options, onFailure: 'ask' } }),
          needs: [],
        },
        { step: { kind: 'wait', key: 'pause', until: lit(pausedUntil) }, needs: [] },
        { step: step('again'), needs: [] },
      ],
    },
    step('last', { with: [['asked', expr(output('asks', 'start'))]] }),
  );
  let lastInput: unknown;
  const pausedAt = { first: 0, second: 0 };
  await runs.withRun(
    {
      plan,
      behaviour: async (input, { call: { path, start } }) => {
        starts.set(path, (starts.get(path) ?? 0) + 1);
        if (path === 'last') lastInput = input;
        if (path === 'all/asks' && start === 1) throw new StepError('DISK_FULL', 'It is full.');
        if (path === 'all/again') {
          pausedAt[start === 1 ? 'first' : 'second'] = Date.now();
          if (start === 1)
            throw new StepError('COORDINATOR_UNAVAILABLE', 'Later.', { retryAfterMs: 4_000 });
        }
        return { start };
      },
      args: { lockId },
    },
    async ({ handle, start }) => {
      const run = runs.client.workflow.getHandle(handle.workflowId);
      const { runId } = await run.describe();
      await untilStep(run, 'all/asks', ({ status }) => status === 'parked');
      const first = await untilHandedOver(handle, runId);
      const decision = { id: 'one', step: 'all/asks', action: 'retry' };
      expect(await decide(run, decision)).toMatchObject({ repeated: false });
      // The server has ended the lock with the first execution; the second has taken it anew.
      const lock = runs.client.workflow.getHandle(lockId);
      await expect.poll(async () => (await lock.describe()).parentExecution?.runId).toBe(first);
      const other = await start(planOf(step('other')), { lockId });
      expect(await other.result()).toMatchObject({ error: { code: 'ROUND_RUNNING' } });
      await untilHandedOver(handle, first);
      expect(await decide(run, decision)).toMatchObject({ repeated: true });

      const view = (await handle.result()) as RunView;
      expect(view.status).toBe('succeeded');
      expect(view.steps.filter(({ status }) => status !== 'succeeded')).toEqual([]);
      expect(view.steps.find(({ path }) => path === 'all/pause')?.endedAt).toSatisfy(
        (endedAt: string) => endedAt >= pausedUntil,
      );
      const twice = [...starts].filter(([, count]) => count !== 1);
      expect(Object.fromEntries(twice)).toEqual({ 'all/asks': 2, 'all/again': 2 });
      expect(starts.size).toBe(33);
      expect(lastInput).toEqual({ asked: 2 });
      // What the other side asked for is kept over the change.
      expect(pausedAt.second - pausedAt.first).toBeGreaterThanOrEqual(3_900);
      expect((await executionsOf(handle, 3)).length).toBeGreaterThanOrEqual(3);
    },
  );
});

test('a run that is cancelled after it went on with a new history runs its `finally`', async () => {
  let begun = (): void => undefined;
  const isBegun = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const seen: string[] = [];
  await runs.withRun(
    {
      plan: largePlan({
        kind: 'try',
        key: 'guard',
        steps: [...chain('s', 12), step('long')],
        finally: [large('clean')],
      }),
      behaviour: async (_input, { call: { path }, signal }) => {
        seen.push(path);
        if (path !== 'guard/long') return {};
        begun();
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        });
      },
    },
    async ({ handle }) => {
      await isBegun;
      await runs.client.workflow.getHandle(handle.workflowId).cancel();
      await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
      expect(seen.at(-1)).toBe('guard/finally/clean');
      expect(new Set(seen).size).toBe(seen.length);
      expect(await executionsOf(handle, 2)).toHaveLength(2);
    },
  );
});

test('a run under way that waits for the lock of its round can be cancelled', async () => {
  let release = (): void => undefined;
  const isReleased = new Promise<void>((resolve) => {
    release = resolve;
  });
  let begun = (): void => undefined;
  const isBegun = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const lockId = `adit-round:waits-${Date.now()}`;
  await runs.withRun(
    {
      plan: planOf(step('holds')),
      behaviour: async () => {
        begun();
        await isReleased;
        return {};
      },
      args: { lockId },
    },
    async ({ handle, start }) => {
      await isBegun;
      // As one that went on with a new history while the other took its lock.
      const waits = await start(planOf(step('never')), { lockId, carried: {} });
      await waits.cancel();
      await expect(waits.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
      release();
      expect(await handle.result()).toMatchObject({ status: 'succeeded' });
    },
  );
});

test('beside a step that takes its time a short loop goes on with a history of its own', async () => {
  // all( long, loop(30 times look) ) -> last
  let release = (): void => undefined;
  const isReleased = new Promise<void>((resolve) => {
    release = resolve;
  });
  const loop: PlanStep = {
    kind: 'repeat',
    id: 'loop',
    key: 'loop',
    limit: 30,
    as: 'n',
    collect: output('look', 'n'),
    steps: [
      step('look', {
        with: [
          ['n', expr({ op: 'name', name: 'n' })],
          ['text', { t: 'text', parts: [text, text] }],
        ],
      }),
    ],
  };
  const plan = largePlan(
    {
      kind: 'parallel',
      key: 'all',
      limit: 2,
      fail: 'fast',
      branches: [
        { step: step('long'), needs: [] },
        { step: loop, needs: [] },
      ],
    },
    step('last', { with: [['seen', expr(output('loop', 'results'))]] }),
  );
  const looked: unknown[] = [];
  let lastInput: unknown;
  await runs.withRun(
    {
      plan,
      behaviour: async (input, { call: { path } }) => {
        if (path === 'all/long') await isReleased;
        if (path === 'last') lastInput = input;
        if (!path.endsWith('/look')) return {};
        looked.push(input['n']);
        if (looked.length === 30) release();
        return { n: input['n'] };
      },
    },
    async ({ handle }) => {
      const view = (await handle.result()) as RunView;
      expect(view.status).toBe('succeeded');
      const numbers = Array.from({ length: 30 }, (_one, index) => index);
      expect(looked).toEqual(numbers);
      expect(lastInput).toEqual({ seen: numbers });
      expect(view.steps.find(({ path }) => path === 'all/loop')).toMatchObject({
        status: 'succeeded',
        part: true,
      });
      // The run itself waited for the long step; the loop began its history anew as often as it had to.
      const part = runs.client.workflow.getHandle(`${handle.workflowId}/all/loop`);
      expect((await executionsOf(part, 2)).length).toBeGreaterThanOrEqual(2);
      expect(await executionsOf(handle, 1)).toHaveLength(1);
      await recordHistory(part, runs.client, 'a-loop-with-a-history-of-its-own');
    },
  );
});

test('what was known before holds in the execution that goes on', async () => {
  const queue = `q.host.handover-${Date.now()}`;
  const lockId = `adit-round:known-${Date.now()}`;
  await runs.withHost(queue, { 'test.program': async () => ({}) }, () =>
    runs.withRun(
      {
        plan: planOf(step('trains', { uses: 'test.program', program: true })),
        behaviour: async () => ({}),
        args: {
          lockId,
          searchAttributes: false,
          carried: { reset: true, abandoned: true, forced: true, queue },
        },
        maxCachedWorkflows: 0,
      },
      async ({ handle }) => {
        expect(await handle.result()).toMatchObject({ status: 'succeeded' });
        // Nobody was asked for a place; the second one records the end.
        expect(await activityIds(handle)).toEqual(['trains', expect.any(String)]);
        // A run that was reset lets go of its lock itself: the server would not. That of this one does, which may be first.
        const lock = await runs.client.workflow.getHandle(lockId).fetchHistory();
        const signals = (lock.events ?? []).flatMap(
          (event) => event.workflowExecutionSignaledEventAttributes?.signalName ?? [],
        );
        expect(signals).toEqual(['release']);
      },
    ),
  );
});

test('a part that was cancelled before it goes on runs the `finally` of what had begun', async () => {
  const plan = planOf({
    kind: 'try',
    key: 'guard',
    steps: [step('begun'), step('never')],
    finally: [step('clean')],
  });
  const at = new Date().toISOString();
  const seen: string[] = [];
  await runs.withRun(
    {
      plan,
      behaviour: async (_input, { call: { path } }) => {
        seen.push(path);
        return {};
      },
      args: {
        part: { runId: 'whole', path: 'call', cancelled: true },
        carried: {},
        state: {
          steps: {
            'call/guard': { status: 'running', uses: 'try', attempts: 1, startedAt: at },
            'call/guard/begun': {
              status: 'succeeded',
              uses: 'test.step',
              attempts: 1,
              startedAt: at,
              endedAt: at,
              outputs: {},
            },
          },
        },
      },
      maxCachedWorkflows: 0,
    },
    async ({ handle }) => {
      await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
      expect(seen).toEqual(['call/guard/finally/clean']);
    },
  );
});

test('1,000 iterations and 2,000 items end, each history with fewer than 10,000 events', async () => {
  const name = (of: string): Expr => ({ op: 'name', name: of });
  const loop: PlanStep = {
    kind: 'repeat',
    id: 'loop',
    key: 'loop',
    limit: 1_000,
    as: 'n',
    collect: output('look', 'n'),
    steps: [step('look', { with: [['n', expr(name('n'))]] })],
  };
  const each: PlanStep = {
    kind: 'foreach',
    id: 'each',
    key: 'each',
    items: { op: 'lit', value: Array.from({ length: 2_000 }, (_one, index) => index) },
    as: 'item',
    limit: 20,
    fail: 'fast',
    collect: output('work', 'n'),
    steps: [step('work', { with: [['n', expr(name('item'))]] })],
  };
  let count = 0;
  const behaviour = async (input: { readonly [key: string]: unknown }): Promise<object> => {
    count += 1;
    return { n: input['n'] };
  };
  const withOutputs = (block: PlanStep, id: string): Plan => ({
    ...planOf(block),
    outputs: [['results', expr(output(id, 'results'))]],
  });
  await runs.withRun(
    { plan: withOutputs(loop, 'loop'), behaviour: behaviour as never },
    async ({ handle, start }) => {
      const fanOut = await start(withOutputs(each, 'each'));
      for (const [run, length] of [
        [handle, 1_000],
        [fanOut, 2_000],
      ] as const) {
        const { outputs } = (await run.result()) as RunView;
        expect(outputs['results']).toEqual(Array.from({ length }, (_one, index) => index));
        const lengths = await executionsOf(run, 2);
        expect(Math.max(...lengths)).toBeLessThan(10_000);
      }
      expect(count).toBe(3_000);
    },
  );
}, 300_000);
