import { z } from 'zod';
import type { SubmissionRecord } from '../adapters/coordinator/records.js';
import {
  acceptanceSchema,
  submissionSchema,
  taskSchema,
  type Submission,
} from '../compiler/values.js';
import { NotYet, STEP_ERRORS, StepError } from '../core/error.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { plainText } from '../core/plain-text.js';
import { defineStep, type StepContext } from './step-type.js';

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 600_000;
const WAIT_FACTOR = 1.5;
/** Nearer to its end than this a step gets no further look. */
const LAST_LOOK_MS = 2_000;

export const coordinatorAcceptance = defineStep({
  name: 'coordinator.acceptance',
  summary: "Waits for the validator's decision on a submission; polling costs no history.",
  input: z.object({
    submission: submissionSchema.describe('The submission.'),
    task: taskSchema.describe('Its task, for the metric that must have been observed.'),
  }),
  output: z.object({ acceptance: acceptanceSchema.describe('What the validator observed.') }),
  defaults: {
    timeout: '7d',
    heartbeat: '20s',
    retry: { attempts: 3, first: '5s', factor: 2, most: '1m' },
  },
  errors: [
    'SUBMISSION_REJECTED',
    'SUBMISSION_ERRORED',
    'SUBMISSION_UNDECIDED',
    'METRIC_MISSING',
    'COORDINATOR_NOT_FOUND',
    'COORDINATOR_REPLY_TOO_LARGE',
    'COORDINATOR_REDIRECTED',
  ],
  example: `
- id: accepted
  uses: coordinator.acceptance
  with:
    submission: \${{ steps.submit.submission }}
    task: \${{ steps.discover.task }}
`,
  run: async ({ submission, task }, context) => {
    const seen = await look(context, submission);
    const status = seen.known.status;
    if (status !== 'accepted' && status !== 'rejected' && status !== 'error') {
      context.progress({ submission: submission.id, status: plainText(status, 40) });
      throw notYet(context, `The submission ${submission.id} is "${plainText(status, 40)}".`);
    }
    const detail = await readDetail(context, submission);
    const record = await context.adapters.store.putBytes(
      `${JSON.stringify({ submission: seen.raw, detail }, null, 2)}\n`,
    );
    const kept = `The record is kept as ${record.uri}.`;
    if (status !== 'accepted') {
      const notes = notesOf(seen, detail);
      const [code, hint] =
        status === 'rejected'
          ? (['SUBMISSION_REJECTED', 'Do not submit it again unchanged.'] as const)
          : ([
              'SUBMISSION_ERRORED',
              'Answer with `adit decide`, the notes at hand: retry looks again (it may be replayed), fail ends the run; nothing is submitted again.',
            ] as const);
      throw new StepError(
        code,
        `The submission ${submission.id} ended as ${status}: ${notes === '' ? 'no notes were given' : notes}.`,
        { hint: `${hint} ${kept}` },
      );
    }
    const observedMetrics = observedOf(seen, detail, task.metricName);
    if (observedMetrics === null) {
      throw new StepError(
        'METRIC_MISSING',
        `The submission ${submission.id} was accepted, but without an observed ${task.metricName}.`,
        { hint: `Ask the operator of the coordinator. ${kept}` },
      );
    }
    return {
      acceptance: {
        submissionId: submission.id,
        status: 'accepted' as const,
        observedMetrics,
        record,
      },
    };
  },
});

/** An outage in days of waiting is no failure: it is looked at again. */
async function look(context: StepContext, submission: Submission): Promise<SubmissionRecord> {
  try {
    return await context.adapters.coordinator.submission(submission.id, context.signal);
  } catch (error) {
    if (!(error instanceof StepError) || !STEP_ERRORS[error.code].retryable) throw error;
    context.progress({ submission: submission.id, waitingFor: error.code });
    throw notYet(context, error.message, error.retryAfterMs);
  }
}

/**
 * From a second to ten minutes, with jitter: many runs must not ask at the same time. At the end of the step's time a
 * person is asked instead.
 */
function notYet(
  { attempt, deadlineMs }: StepContext,
  message: string,
  atLeastMs = 0,
): NotYet | StepError {
  if (deadlineMs !== null && deadlineMs - Date.now() < LAST_LOOK_MS) {
    return new StepError('SUBMISSION_UNDECIDED', message, {
      hint: 'The step waited for its whole `timeout`. Answer with `adit decide`: retry waits as long again, fail ends the run; the submission stays.',
    });
  }
  const waitMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * WAIT_FACTOR ** (attempt - 1));
  const jittered = waitMs * (1 + Math.random() * 0.1);
  return new NotYet('SUBMISSION_UNDECIDED', message, Math.round(Math.max(jittered, atLeastMs)));
}

/** Null where it cannot be had: it may need the owner's signature (protocol 7.1), and it decides nothing. */
async function readDetail(
  context: StepContext,
  submission: Submission,
): Promise<JsonObject | null> {
  try {
    return await context.adapters.coordinator.submissionDetail(submission.id, context.signal);
  } catch (error) {
    if (error instanceof StepError) return null;
    throw error;
  }
}

function verificationsOf(detail: JsonObject | null): JsonObject[] {
  const list = detail?.['verifications'];
  return Array.isArray(list) ? list.filter(isJsonObject) : [];
}

function notesOf({ raw }: SubmissionRecord, detail: JsonObject | null): string {
  const notes = [raw, ...verificationsOf(detail)]
    .map((place) => place['notes'])
    .filter((text) => typeof text === 'string')
    .map((text) => plainText(text, 500).replace(/\.$/, ''));
  return plainText([...new Set(notes)].filter((text) => text !== '').join('; '), 1_500);
}

/** The observed numbers, which must hold the task's metric; the submission's own come first. */
function observedOf(
  { known }: SubmissionRecord,
  detail: JsonObject | null,
  metric: string,
): Record<string, number> | null {
  const accepted = verificationsOf(detail).filter(({ status }) => status === 'accepted');
  for (const observed of [
    known.observed_metrics,
    ...accepted.map((each) => each['observed_metrics']),
  ]) {
    if (!isJsonObject(observed)) continue;
    const numbers = Object.entries(observed).filter(
      (entry): entry is [string, number] =>
        typeof entry[1] === 'number' && Number.isFinite(entry[1]),
    );
    const metrics = Object.fromEntries(numbers);
    if (Object.hasOwn(metrics, metric)) return metrics;
  }
  return null;
}
