/** Posting a replay's result (protocol 4.7): after a broken connection, look before trying again. */
import { ConnectionFailed, type CoordinatorClient } from './coordinator-client.js';
import { RETRY_LOG_CHARACTERS, shorten } from './replay-log.js';
import type { BodyValue } from './canonical-body.js';
import type { ReplayJob } from './job.js';
import type { ReplayOutcome } from './replay.js';

const RETRY_NOTE = 'Posted again after a connection failure; the log is shortened.';

/**
 * Posts a result once; after a connection failure looks whether it arrived, and posts once more if not.
 * An HTTP error status is not retried. Throws when the result could not be delivered.
 */
export async function postResult(
  client: CoordinatorClient,
  job: ReplayJob,
  outcome: ReplayOutcome,
  signal: AbortSignal,
): Promise<void> {
  const arrived = async (): Promise<boolean> => {
    try {
      return await client.hasResult(job.jobId, job.submissionId, signal);
    } catch (error) {
      if (error instanceof ConnectionFailed) {
        return false;
      }
      throw error;
    }
  };
  try {
    await client.postResult(job.jobId, resultBody(job, outcome), signal);
    return;
  } catch (error) {
    if (!(error instanceof ConnectionFailed)) {
      throw error;
    }
  }
  if (await arrived()) {
    return;
  }
  const again: ReplayOutcome = {
    ...outcome,
    notes: `${outcome.notes} ${RETRY_NOTE}`,
    log: shorten(outcome.log, RETRY_LOG_CHARACTERS),
  };
  try {
    await client.postResult(job.jobId, resultBody(job, again), signal);
  } catch (error) {
    if (!(error instanceof ConnectionFailed) || !(await arrived())) {
      throw error;
    }
  }
}

function resultBody(job: ReplayJob, outcome: ReplayOutcome): BodyValue {
  return {
    submission_id: job.submissionId,
    status: outcome.status,
    observed_metrics: outcome.observedMetrics,
    notes: outcome.notes,
    replay_log: outcome.log,
  };
}
