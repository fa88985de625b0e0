import { asyncLocalStorage, type Context } from '@temporalio/activity';
import { expect, test } from 'vitest';
import type { HookOutcome } from '../adapters/notify/notifier.js';
import { noticeOf } from '../core/notice.js';
import { createNotifyActivity } from './notify.js';

const notice = noticeOf(
  { run: 'run-1', round: 'run-1', pipeline: 'test' },
  'failed',
  '2026-01-01T00:00:00.000Z',
  {},
);

/** One attempt, with a notifier whose target answers so. */
const tell = (outcome: HookOutcome, required: boolean): Promise<string> =>
  asyncLocalStorage.run(
    { cancellationSignal: new AbortController().signal, heartbeat: () => {} } as unknown as Context,
    () =>
      createNotifyActivity({ deliver: async () => outcome })({ notice, hook: 'webhook', required }),
  );

test('a hook that was told is told once', async () => {
  expect(await tell({ kind: 'delivered' }, true)).toBe('delivered');
});

test('one that could not be told is tried again, when it wishes', async () => {
  await expect(
    tell({ kind: 'failed', reason: 'The webhook answered 503.', retryAfterMs: 7_000 }, false),
  ).rejects.toMatchObject({
    type: 'NOTICE_UNDELIVERED',
    message: 'The webhook answered 503.',
    nonRetryable: false,
    nextRetryDelay: 7_000,
  });
});

test('one for which there is no room yet comes later, which is no failure', async () => {
  await expect(tell({ kind: 'busy', retryAfterMs: 3_000 }, true)).rejects.toMatchObject({
    nextRetryDelay: 3_000,
    category: 'BENIGN',
  });
});

test('a worker without the hook tries again where the run was started with it, and else is done', async () => {
  expect(await tell({ kind: 'not set' }, false)).toBe('not set');
  await expect(tell({ kind: 'not set' }, true)).rejects.toMatchObject({
    type: 'NOTICE_UNDELIVERED',
    message: 'The run was started where a webhook is set; this worker has none.',
    nonRetryable: false,
  });
});
