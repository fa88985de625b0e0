/** What holds for a run as a whole: its notices, its deadline, the time of its `finally`, and a cancellation of that. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createNotifyActivity } from '../../activities/notify.js';
import { createNotifier } from '../../adapters/notify/notifier.js';
import { StepError } from '../../core/error.js';
import { NOTICE_EVENTS, type Notice } from '../../core/notice.js';
import type { TryStep } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import { FORCE_SIGNAL, NOTIFY_ACTIVITY } from '../../workflows/contract.js';
import { planOf, stepMaker } from '../support/plan-makers.js';
import { createWebhookReceiver, signatureOf } from '../support/webhook-receiver.js';
import {
  decide,
  openRuns,
  untilStep,
  viewOf,
  type Behaviour,
  type Runs,
  type StartedRun,
} from '../support/workflow-runs.js';

const step = stepMaker({
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 1, firstMs: 10, factor: 1, mostMs: 10, never: [] },
});

const guard = (more: Partial<TryStep> = {}): TryStep => ({
  kind: 'try',
  id: 'guard',
  key: 'guard',
  steps: [step('a')],
  finally: [step('clean')],
  finallyTimeoutMs: 3_600_000,
  ...more,
});

/** The steps that `hangs` names go on until they are cancelled. */
const hanging =
  (...hangs: string[]): Behaviour =>
  (_input, { call, signal }) =>
    hangs.includes(call.path)
      ? new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        })
      : Promise.resolve({});

const statuses = (view: RunView): string[] =>
  view.steps.map(({ path: at, status }) => `${at} ${status}`);

let runs: Runs;

beforeAll(async () => {
  runs = await openRuns(inject('temporal').address);
});

afterAll(() => runs.close());

async function recordOf({ handle }: StartedRun): Promise<RunView> {
  const file = path.join(runs.folder, 'runs', handle.workflowId, 'run.json');
  return JSON.parse(await readFile(file, 'utf8')) as RunView;
}

describe('hooks', () => {
  test('are told once of what a run waits for and how it ended, also by a target that was down', async () => {
    const receiver = await createWebhookReceiver();
    const secretFile = path.join(runs.folder, 'secret');
    const lines = path.join(runs.folder, 'lines');
    const key = Buffer.from('a secret of the test, long enough');
    await writeFile(secretFile, `whsec_${key.toString('base64')}\n`);
    const notifier = createNotifier(
      {
        notifyUrl: receiver.url,
        notifySecretFile: secretFile,
        notifyCommand: ['sh', '-c', `cat >> '${lines}'`],
        stateDir: runs.folder,
      },
      { PATH: process.env['PATH'] ?? '' },
    );
    const behaviour: Behaviour = async () => {
      throw new StepError('EFFECT_UNKNOWN', 'Nobody knows.', { hint: 'look it up' });
    };
    try {
      await runs.withRun(
        {
          plan: planOf(step('a')),
          behaviour,
          activities: { [NOTIFY_ACTIVITY]: createNotifyActivity(notifier) },
          args: { notify: { events: NOTICE_EVENTS, hooks: ['webhook', 'command'] } },
          maxCachedWorkflows: 0,
        },
        async ({ handle }) => {
          await untilStep(handle, 'a', ({ status }) => status === 'parked');
          await decide(handle, { id: 'd1', step: 'a', action: 'fail' });
          // Nothing listens yet: the run has ended all the same.
          expect(await handle.result()).toMatchObject({ status: 'stopped' });

          await receiver.open();
          await expect.poll(() => receiver.received.length).toBe(2);
          const notices = receiver.received.map(({ notice }) => notice);
          const about = { run: handle.workflowId, round: handle.workflowId, pipeline: 'test' };
          const blamed = { step: 'a', code: 'EFFECT_UNKNOWN', message: 'Nobody knows.' };
          const byEvent = (event: string): Notice | undefined =>
            notices.find((notice) => notice.event === event);
          expect(byEvent('parked')).toMatchObject({ ...about, ...blamed, hint: 'look it up' });
          expect(byEvent('stopped')).toMatchObject({ ...about, ...blamed });
          for (const one of receiver.received) {
            expect(one.headers['webhook-id']).toBe(one.notice.id);
            expect(one.headers['webhook-signature']).toBe(signatureOf(one, key));
            const delivery = runs.client.workflow.getHandle(one.notice.id);
            expect(await delivery.result()).toEqual({ webhook: 'delivered', command: 'delivered' });
            const told = historyToJSON(await delivery.fetchHistory());
            // What was down for a moment here may be so for hours: tries go on, at most ten minutes apart.
            expect(told).toMatch(/"scheduleToCloseTimeout":\s*"259200s"/);
            expect(told).toMatch(/"maximumInterval":\s*"600s"/);
            expect(told).not.toMatch(/very-secret-token|hidden|127\.0\.0\.1|a secret of/);
          }
          const written = (await readFile(lines, 'utf8')).trim().split('\n').sort();
          expect(written).toEqual(receiver.received.map(({ body }) => body).sort());
          expect(historyToJSON(await handle.fetchHistory())).not.toContain('very-secret-token');
        },
      );
    } finally {
      await receiver.close();
    }
  });

  test('that nobody asked for cost a run nothing', async () => {
    await runs.withRun({ plan: planOf(step('a')), behaviour: hanging() }, async ({ handle }) => {
      await handle.result();
      const { events } = await handle.fetchHistory();
      expect(
        events?.filter((event) => event.startChildWorkflowExecutionInitiatedEventAttributes),
      ).toEqual([]);
    });
  });
});

describe('a deadline', () => {
  test('ends the run in order: what is under way is cancelled, and what is last still runs', async () => {
    const args = { deadlineMs: Date.now() + 8_000, endsAtDeadline: true as const };
    await runs.withRun(
      { plan: planOf(guard(), step('after')), behaviour: hanging('guard/a'), args },
      async (started) => {
        const deadline = new Date(args.deadlineMs).toISOString();
        await expect(started.handle.result()).rejects.toMatchObject({
          cause: {
            type: 'RUN_DEADLINE',
            message: `The run did not end by its deadline, ${deadline}; what was under way was cancelled.`,
          },
        });
        const record = await recordOf(started);
        expect(record).toMatchObject({ status: 'failed', error: { code: 'RUN_DEADLINE' } });
        expect(statuses(record)).toEqual([
          'guard cancelled',
          'guard/a cancelled',
          'guard/finally/clean succeeded',
          'after pending',
        ]);
      },
    );
  });

  test('that is still to come leaves a run as it is, and one that was cancelled is not late', async () => {
    const args = { deadlineMs: Date.now() + 3_600_000, endsAtDeadline: true as const };
    await runs.withRun(
      { plan: planOf(guard()), behaviour: hanging('guard/a'), args },
      async ({ handle, start }) => {
        const whole = await start(planOf(step('b')), args);
        expect(await whole.result()).toMatchObject({ status: 'succeeded' });
        await untilStep(handle, 'guard/a', ({ status }) => status === 'running');
        await handle.cancel();
        await expect(handle.result()).rejects.toMatchObject({
          cause: { name: 'CancelledFailure' },
        });
      },
    );
  });
});

describe('a `finally`', () => {
  test('that takes too long is cancelled', async () => {
    await runs.withRun(
      {
        plan: planOf(guard({ finallyTimeoutMs: 2_000 })),
        behaviour: hanging('guard/finally/clean'),
      },
      async (started) => {
        await expect(started.handle.result()).rejects.toMatchObject({
          cause: { type: 'FINALLY_TIMEOUT' },
        });
        expect(statuses(await recordOf(started))).toEqual([
          'guard failed',
          'guard/a succeeded',
          'guard/finally/clean cancelled',
        ]);
      },
    );
  });

  test.each([
    ['with cached workflows', 10],
    ['with every task replayed', 0],
  ])('goes on in a run that is cancelled, until that is forced, %s', async (_name, cached) => {
    await runs.withRun(
      {
        plan: planOf(guard()),
        behaviour: hanging('guard/a', 'guard/finally/clean'),
        maxCachedWorkflows: cached,
      },
      async (started) => {
        const { handle } = started;
        await untilStep(handle, 'guard/a', ({ status }) => status === 'running');
        await handle.cancel();
        await untilStep(handle, 'guard/finally/clean', ({ status }) => status === 'running');
        await handle.cancel();
        expect(await viewOf(handle)).toMatchObject({ status: 'running' });
        await handle.signal(FORCE_SIGNAL);
        await expect(handle.result()).rejects.toMatchObject({
          cause: { name: 'CancelledFailure' },
        });
        expect(statuses(await recordOf(started))).toEqual([
          'guard cancelled',
          'guard/a cancelled',
          'guard/finally/clean cancelled',
        ]);
      },
    );
  });

  test('begins nothing where the cancellation was forced from the start', async () => {
    await runs.withRun(
      { plan: planOf(guard()), behaviour: hanging('guard/a') },
      async (started) => {
        const { handle } = started;
        await untilStep(handle, 'guard/a', ({ status }) => status === 'running');
        await handle.signal(FORCE_SIGNAL);
        expect(await viewOf(handle)).toMatchObject({ status: 'running' });
        await handle.cancel();
        await expect(handle.result()).rejects.toMatchObject({
          cause: { name: 'CancelledFailure' },
        });
        expect(statuses(await recordOf(started))).toEqual([
          'guard cancelled',
          'guard/a cancelled',
          'guard/finally/clean cancelled',
        ]);
      },
    );
  });
});
