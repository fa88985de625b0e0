import { randomBytes } from 'node:crypto';
import { ApplicationFailure, Context } from '@temporalio/activity';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { ActivityStep } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import type { StepCall } from '../../core/step-call.js';
import {
  ABANDON_SIGNAL,
  END_PROGRAM_ACTIVITY,
  PLACE_ACTIVITY,
  type EndProgramArgs,
} from '../../workflows/contract.js';
import { foreachOf, planOf, stepMaker } from '../support/plan-makers.js';
import {
  activityIds,
  openRuns,
  untilStep,
  type Behaviour,
  type Runs,
  type TestActivities,
} from '../support/workflow-runs.js';

const OPTIONS = {
  timeoutMs: 3_600_000,
  retry: { attempts: 2, firstMs: 10, factor: 1, mostMs: 10, never: [] },
};

const step = stepMaker(OPTIONS);
const program = (id: string, overrides: Partial<ActivityStep> = {}): ActivityStep =>
  step(id, { uses: 'test.program', program: true, ...overrides });

const nothing: Behaviour = async () => ({});

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

/** A host of the test: its queue, and what was asked of it. */
function makeHost(run: (call: StepCall) => Promise<object> = async () => ({})) {
  const queue = `q.host.${randomBytes(4).toString('hex')}`;
  const calls: StepCall[] = [];
  const ended: EndProgramArgs[] = [];
  const placed: unknown[] = [];
  const activities: TestActivities = {
    'test.program': async (call: StepCall) => {
      calls.push(call);
      return run(call);
    },
    [END_PROGRAM_ACTIVITY]: async (args: EndProgramArgs) => {
      ended.push(args);
    },
  };
  const shared: TestActivities = {
    [PLACE_ACTIVITY]: async (args: unknown) => {
      placed.push(args);
      return { queue };
    },
  };
  return { queue, name: queue.slice('q.host.'.length), calls, ended, placed, activities, shared };
}

/** Goes on until it is cancelled; it hears of that by its heartbeats. */
async function untilCancelled(): Promise<never> {
  const activity = Context.current();
  const beat = setInterval(() => activity.heartbeat(), 100);
  try {
    return await activity.cancelled;
  } finally {
    clearInterval(beat);
  }
}

describe.each([
  ['with cached workflows', 10],
  ['with every task replayed', 0],
])('a step that runs a program, %s', (_name, maxCachedWorkflows) => {
  test('is told its limits, and the programs of a run share one host that was asked for once', async () => {
    const host = makeHost();
    const options = { ...OPTIONS, attemptTimeoutMs: 60_000, gpus: 2 };
    const plan = planOf(program('a', { options }), foreachOf(['x', 'y'], [program('work')]));
    await runs.withHost(host.queue, host.activities, () =>
      runs.withRun(
        {
          plan,
          behaviour: nothing,
          activities: host.shared,
          args: { deadlineMs: 4_000_000_000_000 },
          maxCachedWorkflows,
        },
        async ({ handle }) => {
          expect(await handle.result()).toMatchObject({ status: 'succeeded' });
          expect(host.placed).toEqual([{ runId: handle.workflowId }]);
          expect(host.calls.map(({ path }) => path).toSorted()).toEqual([
            'a',
            'each#0/work',
            'each#1/work',
          ]);
          expect(host.calls[0]).toMatchObject({
            program: { timeoutMs: 3_600_000, attemptTimeoutMs: 60_000, gpus: 2 },
            runDeadlineMs: 4_000_000_000_000,
          });
          expect(host.ended).toEqual([]);
          const { events } = await handle.fetchHistory();
          const scheduled = (events ?? [])
            .map((event) => event.activityTaskScheduledEventAttributes)
            .find((attributes) => attributes?.activityId === 'a');
          const seconds = (of?: { seconds?: unknown } | null): number => Number(of?.seconds ?? 0);
          expect(scheduled?.taskQueue?.name).toBe(host.queue);
          // Nothing of the server's ends it: the backstop is a month behind its own limit.
          expect(seconds(scheduled?.scheduleToCloseTimeout)).toBe(0);
          expect(seconds(scheduled?.startToCloseTimeout)).toBe(3_600 + 30 * 24 * 3_600);
          expect(seconds(scheduled?.heartbeatTimeout)).toBe(20);
          expect(seconds(scheduled?.retryPolicy?.maximumInterval)).toBe(10);
          expect(scheduled?.retryPolicy?.nonRetryableErrorTypes ?? []).toEqual([]);
        },
      ),
    );
  });

  test('is started again at once when its program was lost', async () => {
    const host = makeHost(async ({ start }) => {
      if (start > 1) return {};
      throw ApplicationFailure.create({
        message: 'It is gone.',
        type: 'PROGRAM_LOST',
        nonRetryable: true,
        details: [{ retryable: true }],
      });
    });
    await runs.withHost(host.queue, host.activities, () =>
      runs.withRun(
        {
          plan: planOf(program('a')),
          behaviour: nothing,
          activities: host.shared,
          maxCachedWorkflows,
        },
        async ({ handle }) => {
          expect(await handle.result()).toMatchObject({ status: 'succeeded' });
          expect(host.calls.map(({ start }) => start)).toEqual([1, 2]);
          // The host has said that nothing is left: it is not asked again.
          expect(host.ended).toEqual([]);
        },
      ),
    );
  });

  test('is cancelled when its host has confirmed that nothing is left of the program', async () => {
    const host = makeHost(untilCancelled);
    const plan = planOf({
      kind: 'try',
      key: 'guard',
      steps: [program('a')],
      finally: [step('clean')],
    });
    await runs.withHost(host.queue, host.activities, () =>
      runs.withRun(
        { plan, behaviour: nothing, activities: host.shared, maxCachedWorkflows },
        async ({ handle }) => {
          await expect.poll(() => host.calls.length).toBe(1);
          await handle.cancel();
          await expect(handle.result()).rejects.toMatchObject({
            cause: { name: 'CancelledFailure' },
          });
          expect(host.ended).toEqual([{ runId: handle.workflowId, stepPath: 'guard/a' }]);
          const ids = await activityIds(handle);
          expect(ids.slice(1)).toEqual([
            'guard/a',
            'guard/a end',
            'guard/finally/clean',
            expect.any(String),
          ]);
        },
      ),
    );
  });

  test('waits for a host that is silent when its run is cancelled, and says so', async () => {
    const host = makeHost();
    const plan = planOf(program('a'), step('b'));
    await runs.withRun(
      { plan, behaviour: nothing, activities: host.shared, maxCachedWorkflows },
      async ({ handle }) => {
        await expect.poll(() => activityIds(handle)).toContain('a');
        await handle.cancel();
        const { status } = await untilStep(
          handle,
          'a',
          ({ note }) => note === `cancelling, waits for host ${host.name}`,
        );
        expect(status).toBe('running');
        await expect.poll(() => activityIds(handle)).toContain('a end');
        await runs.withHost(host.queue, host.activities, async () => {
          await expect(handle.result()).rejects.toMatchObject({
            cause: { name: 'CancelledFailure' },
          });
        });
        expect(host.calls).toEqual([]);
        expect(host.ended).toEqual([{ runId: handle.workflowId, stepPath: 'a' }]);
      },
    );
  });

  test('is cancelled, not failed, when its worker goes silent and a person gives up waiting', async () => {
    let isOver = (): void => undefined;
    const over = new Promise<void>((resolve) => {
      isOver = resolve;
    });
    // It hears nothing: it has no heartbeats.
    const host = makeHost(async () => {
      await over;
      return {};
    });
    const options = { ...OPTIONS, heartbeatMs: 1_000 };
    const silent: TestActivities = {
      ...host.activities,
      [END_PROGRAM_ACTIVITY]: async (args: EndProgramArgs) => {
        host.ended.push(args);
        await over;
      },
    };
    await runs.withHost(host.queue, silent, () =>
      runs.withRun(
        {
          plan: planOf(program('a', { options })),
          behaviour: nothing,
          activities: host.shared,
          maxCachedWorkflows,
        },
        async ({ handle }) => {
          await expect.poll(() => host.calls.length).toBe(1);
          await handle.cancel();
          await expect.poll(() => host.ended.length).toBe(1);
          await handle.signal(ABANDON_SIGNAL);
          await expect(handle.result()).rejects.toMatchObject({
            cause: { name: 'CancelledFailure' },
          });
          const view = await handle.query<RunView>('state');
          expect(view.steps[0]).toMatchObject({
            status: 'cancelled',
            note: `given up: the program may still run on host ${host.name}`,
          });
          isOver();
        },
      ),
    );
  });
});

test('the program of a sibling that fails is ended before the run is', async () => {
  const host = makeHost(async ({ path }) => {
    if (path === 'each#1/work') return untilCancelled();
    await expect.poll(() => host.calls.length).toBe(2);
    throw ApplicationFailure.nonRetryable('It failed.', 'PROGRAM_FAILED', { retryable: false });
  });
  const plan = planOf(foreachOf(['x', 'y'], [program('work')]));
  await runs.withHost(host.queue, host.activities, () =>
    runs.withRun({ plan, behaviour: nothing, activities: host.shared }, async ({ handle }) => {
      await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'PROGRAM_FAILED' } });
      expect(host.ended).toEqual([{ runId: handle.workflowId, stepPath: 'each#1/work' }]);
    }),
  );
});

test('a program that waits for a host is cancelled at once', async () => {
  const host = makeHost();
  let isOver = (): void => undefined;
  const over = new Promise<void>((resolve) => {
    isOver = resolve;
  });
  const shared: TestActivities = {
    [PLACE_ACTIVITY]: async () => {
      await over;
      return { queue: host.queue };
    },
  };
  await runs.withRun(
    { plan: planOf(program('a')), behaviour: nothing, activities: shared },
    async ({ handle }) => {
      await expect.poll(async () => (await activityIds(handle)).length).toBe(1);
      await handle.cancel();
      await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
      isOver();
    },
  );
});

test('abandonment before a cancellation holds for it, and not for what its `finally` does', async () => {
  const host = makeHost();
  // As in a plan from before `finally` had a limit.
  const guard = planOf({
    kind: 'try',
    key: 'guard',
    steps: [program('a')],
    finally: [step('clean')],
  });
  await runs.withRun(
    { plan: guard, behaviour: nothing, activities: host.shared },
    async ({ handle }) => {
      await expect.poll(() => activityIds(handle)).toContain('guard/a');
      await handle.signal(ABANDON_SIGNAL);
      await handle.cancel();
      await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
      expect(host.ended).toEqual([]);
      expect((await activityIds(handle)).slice(1, -1)).toEqual(['guard/a', 'guard/finally/clean']);
    },
  );
});

test('a step on a silent host that runs no program is given up as well', async () => {
  const queue = `q.host.${randomBytes(4).toString('hex')}`;
  let isOver = (): void => undefined;
  const over = new Promise<void>((resolve) => {
    isOver = resolve;
  });
  let started = 0;
  const silent: TestActivities = {
    'test.step': async () => {
      started += 1;
      await over;
      return {};
    },
  };
  const workspace = { t: 'value', value: { queue } } as const;
  const options = { ...OPTIONS, heartbeatMs: 120_000 };
  const plan = planOf(
    step('a', { with: [['workspace', workspace]], host: [['workspace']], options }),
  );
  await runs.withHost(queue, silent, () =>
    runs.withRun({ plan, behaviour: nothing }, async ({ handle }) => {
      await expect.poll(() => started).toBe(1);
      await handle.cancel();
      const name = queue.slice('q.host.'.length);
      await untilStep(handle, 'a', ({ note }) => note === `cancelling, waits for host ${name}`);
      await handle.signal(ABANDON_SIGNAL);
      await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
      const view = await handle.query<RunView>('state');
      expect(view.steps[0]).toMatchObject({
        status: 'cancelled',
        note: `given up: host ${name} did not answer`,
      });
      isOver();
    }),
  );
});
