/** The activity that tells one hook of one event; Temporal tries it again until the hook has taken it. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { ApplicationFailureCategory, type ApplicationFailureOptions } from '@temporalio/common';
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
