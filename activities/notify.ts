/** The activity that tells one hook of one event; Temporal tries it again until the hook has taken it. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import type { Notifier } from '../adapters/notify/notifier.js';
import type { Hook, Notice } from '../core/notice.js';

/** Fails with NOTICE_UNDELIVERED, always to be tried again: whatever is wrong can be mended meanwhile. */
export function createNotifyActivity(
  notifier: Notifier,
): (args: {
  readonly notice: Notice;
  readonly hook: Hook;
  readonly required: boolean;
}) => Promise<'delivered' | 'not set'> {
  return async ({ notice, hook, required }) => {
    const outcome = await notifier.deliver(hook, notice, Context.current().cancellationSignal);
    if (outcome.kind === 'delivered') return outcome.kind;
    if (outcome.kind === 'not set' && !required) return outcome.kind;
    const isFailed = outcome.kind === 'failed';
    throw ApplicationFailure.create({
      message: isFailed
        ? outcome.reason
        : `The run was started where a ${hook} is set; this worker has none.`,
      type: 'NOTICE_UNDELIVERED',
      nonRetryable: false,
      ...(isFailed && outcome.retryAfterMs !== undefined
        ? { nextRetryDelay: outcome.retryAfterMs }
        : {}),
    });
  };
}
