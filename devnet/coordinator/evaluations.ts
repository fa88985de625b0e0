/** Who judges a submission: validator jobs (protocol 4.1, 4.7) and peers (2.8). */
import { z } from 'zod';
import { toNumber } from '../auth/json-numbers.js';
import { toTimestamp } from '../state/clock.js';
import { Problem, notFound } from './problem.js';
import type { JobRecord, PeerEvaluationRecord, SubmissionRecord } from './records.js';
import { newId, now, type CoordinatorState } from './state.js';
import { assertHasTaskMetric, finishSubmission, metricsSchema } from './submissions.js';
import { findTask } from './tasks.js';

const result = z.object({
  status: z.enum(['accepted', 'rejected', 'error']),
  observed_metrics: metricsSchema,
  notes: z.string().nullish(),
  replay_log: z.string().nullish(),
});
export const legacyResultSchema = result;
export const jobResultSchema = result.extend({ submission_id: z.string().min(1) });
export const peerEvaluationSchema = result.omit({ replay_log: true });
export const workListSchema = z.object({ task_id: z.string().nullish() });

export interface PeerConsensus {
  readonly submission_id: string;
  readonly status: string;
  readonly accepted_count: number;
  readonly rejected_count: number;
  readonly error_count: number;
  readonly min_peer_evaluations: number;
}

/** The jobs without a result that this validator may take, oldest first. */
export function openJobs(
  state: CoordinatorState,
  hotkey: string,
  taskId: string | null,
): JobRecord[] {
  const at = now(state);
  return state.jobs
    .list({ status: 'pending', task_id: taskId ?? undefined })
    .filter(({ hidden: { leased_to, leased_until } }) => {
      return (
        leased_to === null || leased_to === hotkey || leased_until === null || leased_until <= at
      );
    });
}

/** Hands one job out under a lease. Throws the 404 that validators read as "no work". */
export function leaseJob(
  state: CoordinatorState,
  hotkey: string,
  taskId: string | null,
): JobRecord {
  const job = openJobs(state, hotkey, taskId)[0];
  if (job === undefined) throw new Problem(404, 'no pending validator jobs');
  const until = toTimestamp(state.clock.nowMs() + state.settings.read().jobLeaseSeconds * 1_000);
  return state.jobs.replace({
    ...job,
    updated_at: now(state),
    hidden: { ...job.hidden, leased_to: hotkey, leased_until: until },
  });
}

/** Takes the one result of a job. Throws 404 for an unknown job, 409 for one that has its result. */
export function finishJob(
  state: CoordinatorState,
  hotkey: string,
  jobId: string,
  body: z.output<typeof jobResultSchema>,
): JobRecord {
  const job = state.jobs.get(jobId);
  if (job === null) throw notFound('Validator job');
  if (job.submission_id !== body.submission_id)
    throw new Problem(400, 'the job is for another submission');
  if (job.status !== 'pending') throw new Problem(409, `the job already ended as ${job.status}`);
  const at = now(state);
  const { leased_to, leased_until } = job.hidden;
  if (leased_to !== null && leased_to !== hotkey && leased_until !== null && leased_until > at) {
    throw new Problem(409, 'the job is leased to another validator');
  }
  const submission = findSubmission(state, job.submission_id);
  if (body.status === 'accepted') {
    assertHasTaskMetric(findTask(state, job.task_id), body.observed_metrics, 'observed_metrics');
  }
  const finished = state.database.transact(() => {
    finishSubmission(state, submission, body);
    return state.jobs.replace({
      ...job,
      status: body.status,
      observed_metrics: body.observed_metrics,
      notes: body.notes ?? null,
      validator_hotkey: hotkey,
      updated_at: at,
      hidden: { replay_log: body.replay_log ?? null, leased_to: null, leased_until: null },
    });
  });
  if (body.status === 'accepted') state.onAccepted();
  return finished;
}

/** The older way to post a result, by submission. Off by default: 503. */
export function verifyLegacy(
  state: CoordinatorState,
  hotkey: string,
  submissionId: string,
  body: z.output<typeof legacyResultSchema>,
): JobRecord {
  const submission = findSubmission(state, submissionId);
  const job = state.jobs.list({ submission_id: submission.id })[0];
  if (job === undefined) throw new Problem(409, 'peers decide on this task');
  return finishJob(state, hotkey, job.id, { ...body, submission_id: submission.id });
}

/** Records a peer's evaluation and, when enough agree, ends the submission. */
export function evaluateAsPeer(
  state: CoordinatorState,
  hotkey: string,
  submissionId: string,
  body: z.output<typeof peerEvaluationSchema>,
): PeerEvaluationRecord {
  const submission = findSubmission(state, submissionId);
  const task = findTask(state, submission.task_id);
  if (task.competition_mode !== 'peer_evaluation')
    throw new Problem(409, 'the task is not judged by peers');
  if (submission.miner_hotkey === hotkey)
    throw new Problem(403, 'a miner cannot evaluate its own submission');
  if (submission.status !== 'pending_verification')
    throw new Problem(409, `submission is ${submission.status}`);
  const before = state.peerEvaluations.list({ submission_id: submission.id });
  if (before.some((each) => each.evaluator_hotkey === hotkey)) {
    throw new Problem(409, 'this hotkey has evaluated the submission');
  }
  if (body.status === 'accepted')
    assertHasTaskMetric(task, body.observed_metrics, 'observed_metrics');
  const ended = state.database.transact(() => {
    const evaluation = state.peerEvaluations.insert({
      id: newId(),
      submission_id: submission.id,
      task_id: task.id,
      evaluator_hotkey: hotkey,
      status: body.status,
      observed_metrics: body.observed_metrics,
      notes: body.notes ?? null,
      created_at: now(state),
    });
    const consensus = peerConsensus(state, submission);
    if (consensus?.status === 'accepted') {
      const observed_metrics = {
        [task.metric_name]: medianMetric(state, submission, task.metric_name),
      };
      finishSubmission(state, submission, { status: 'accepted', observed_metrics });
    } else if (consensus?.status === 'rejected') {
      finishSubmission(state, submission, { status: 'rejected', observed_metrics: {} });
    }
    return { evaluation, accepted: consensus?.status === 'accepted' };
  });
  if (ended.accepted) state.onAccepted();
  return ended.evaluation;
}

/** How the peers stand; null where they do not decide. Ends at `min_peer_evaluations` of one kind. */
export function peerConsensus(
  state: CoordinatorState,
  submission: SubmissionRecord,
): PeerConsensus | null {
  const task = findTask(state, submission.task_id);
  if (task.competition_mode !== 'peer_evaluation') return null;
  const evaluations = state.peerEvaluations.list({ submission_id: submission.id });
  const count = (status: string): number =>
    evaluations.filter((each) => each.status === status).length;
  const needed = task.min_peer_evaluations;
  const status =
    count('accepted') >= needed ? 'accepted' : count('rejected') >= needed ? 'rejected' : 'pending';
  return {
    submission_id: submission.id,
    status,
    accepted_count: count('accepted'),
    rejected_count: count('rejected'),
    error_count: count('error'),
    min_peer_evaluations: needed,
  };
}

export function findSubmission(state: CoordinatorState, id: string): SubmissionRecord {
  const submission = state.submissions.get(id);
  if (submission === null) throw notFound('Submission');
  return submission;
}

function medianMetric(state: CoordinatorState, submission: SubmissionRecord, name: string): number {
  const values = state.peerEvaluations
    .list({ submission_id: submission.id, status: 'accepted' })
    .flatMap(({ observed_metrics }) => {
      const value = observed_metrics[name];
      return value === undefined ? [] : [toNumber(value)];
    })
    .sort((left, right) => left - right);
  const middle = Math.floor(values.length / 2);
  const upper = values[middle] ?? 0;
  return values.length % 2 === 1 ? upper : ((values[middle - 1] ?? upper) + upper) / 2;
}
