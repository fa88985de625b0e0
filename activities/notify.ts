/** The activity that tells one hook of one event; Temporal tries it again until the hook has taken it. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { ApplicationFailureCategory, type ApplicationFailureOptions } from '@temporalio/common';
import type { Notifier } from '../adapters/notify/notifier.js';
import type { Hook, Notice } from '../core/notice.js';

/** How often a delivery that is under way tells the server that its worker lives. */
const HEARTBEAT_EVERY_MS = 1_000;

/** Fails with NOTICE_UNDELIVERED, always to be tried again: whatever is wrong can be mended meanwhile. */
export function createNotifyActivity(
  notifier: Notifier,
): (args: {
  readonly notice: Notice;
  readonly hook: Hook;
  readonly required: boolean;
}) => Promise<'delivered' | 'not set'> {
  return async ({ notice, hook, required }) => {
    const activity = Context.current();
    const beat = setInterval(() => activity.heartbeat(), HEARTBEAT_EVERY_MS);
    const outcome = await notifier
      .deliver(hook, notice, activity.cancellationSignal)
      .finally(() => clearInterval(beat));
    switch (outcome.kind) {
      case 'delivered':
        return outcome.kind;
      case 'not set':
        if (!required) return outcome.kind;
        throw undelivered(`The run was started where a ${hook} is set; this worker has none.`);
      case 'busy':
        throw undelivered('Other notices are under way.', {
          nextRetryDelay: outcome.retryAfterMs,
          // Not a failure: it must not fill logs and failure metrics.
          category: ApplicationFailureCategory.BENIGN,
        });
      case 'failed':
        throw undelivered(
          outcome.reason,
          outcome.retryAfterMs === undefined ? {} : { nextRetryDelay: outcome.retryAfterMs },
        );
    }
  };
}

function undelivered(
  message: string,
  more: Pick<ApplicationFailureOptions, 'nextRetryDelay' | 'category'> = {},
): ApplicationFailure {
  return ApplicationFailure.create({
    message,
    type: 'NOTICE_UNDELIVERED',
    nonRetryable: false,
    ...more,
  });
}
