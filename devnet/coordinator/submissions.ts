/** Submissions: what is taken, and how one ends (protocol 2.6, 2.7, 2.10, 8). */
import { z } from 'zod';
import { isJsonNumber, toNumber, type JsonNumber } from '../auth/json-numbers.js';
import { assertWithinRate, ownClaim } from './claims.js';
import { Problem, fieldProblem, notFound } from './problem.js';
import type { FinalStatus, Metrics, SubmissionRecord, TaskRecord } from './records.js';
import { newId, now, type CoordinatorState } from './state.js';
import { findOpenTask, findTask, toReplaySpec } from './tasks.js';

/** The launcher keeps its summaries below 7,900 characters, so the limit is probably this one. */
const SUMMARY_LIMIT = 8_000;

const metric = z.custom<JsonNumber>(
  (value) => isJsonNumber(value) && Number.isFinite(toNumber(value)),
  'Input should be a valid number',
);
export const metricsSchema = z.record(z.string(), metric);

const sizeBytes = z
  .custom<JsonNumber>(isJsonNumber, 'Input should be a valid integer')
  .transform(toNumber)
  .pipe(z.number().int().nonnegative());

export const submissionSchema = z.object({
  claim_id: z.string().min(1),
  base_ref: z.string().min(1).max(255),
  patch: z.string(),
  summary: z.string().min(1).max(SUMMARY_LIMIT),
  claimed_metrics: metricsSchema.refine(
    (metrics) => Object.keys(metrics).length > 0,
    'must not be empty',
  ),
  proposed_idea: z.string().nullish(),
  implemented_submission_id: z.string().nullish(),
  artifact_uri: z.string().nullish(),
  artifact_sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullish(),
  artifact_size_bytes: sizeBytes.nullish(),
  execution_log: z.string().nullish(),
});

type SubmissionBody = z.output<typeof submissionSchema>;

export function createSubmission(
  state: CoordinatorState,
  hotkey: string,
  body: SubmissionBody,
): SubmissionRecord {
  const claim = ownClaim(state, hotkey, body.claim_id);
  if (claim.status !== 'active') {
    throw new Problem(state.settings.read().inactiveClaimStatusCode, `claim is ${claim.status}`);
  }
  const task = findOpenTask(state, claim.task_id);
  assertWithinRate(state, hotkey, 'submissions');
  assertFits(state, task, body);
  assertIdeas(state, task, hotkey, body);
  const at = now(state);
  const replaySpec = toReplaySpec(task, body.base_ref);
  return state.database.transact(() => {
    const submission = state.submissions.insert({
      id: newId(),
      task_id: task.id,
      claim_id: claim.id,
      miner_hotkey: hotkey,
      status: 'pending_verification',
      base_ref: body.base_ref,
      base_commit_sha: replaySpec.base_commit_sha,
      patch: body.patch,
      summary: body.summary,
      claimed_metrics: body.claimed_metrics,
      observed_metrics: {},
      proposed_idea: body.proposed_idea || null,
      implemented_submission_id: body.implemented_submission_id || null,
      artifact_uri: body.artifact_uri || null,
      artifact_sha256: body.artifact_sha256 ?? null,
      artifact_size_bytes: body.artifact_size_bytes ?? null,
      created_at: at,
      updated_at: at,
      hidden: {
        execution_log: body.execution_log ?? null,
        replay_spec: replaySpec,
        accepted_at: null,
        was_best: false,
      },
    });
    state.claims.replace({ ...claim, status: 'submitted', updated_at: at });
    const item = claim.work_item_id === null ? null : state.workItems.get(claim.work_item_id);
    if (item !== null) state.workItems.replace({ ...item, status: 'completed' });
    if (task.competition_mode !== 'peer_evaluation') insertJob(state, submission);
    return submission;
  });
}

/**
 * What no sound coordinator stores: a submission of another hotkey on a claim, which stays active. For those who
 * rehearse what a client makes of it.
 */
export function insertForeignSubmission(
  state: CoordinatorState,
  claimId: string,
  hotkey: string,
): SubmissionRecord {
  const claim = state.claims.get(claimId);
  if (claim === null) throw notFound('Claim');
  const task = findTask(state, claim.task_id);
  const at = now(state);
  const replaySpec = toReplaySpec(task, '0'.repeat(40));
  return state.submissions.insert({
    id: newId(),
    task_id: task.id,
    claim_id: claim.id,
    miner_hotkey: hotkey,
    status: 'pending_verification',
    base_ref: replaySpec.base_ref,
    base_commit_sha: replaySpec.base_commit_sha,
    patch: '',
    summary: 'A submission of somebody else.',
    claimed_metrics: {},
    observed_metrics: {},
    proposed_idea: null,
    implemented_submission_id: null,
    artifact_uri: null,
    artifact_sha256: null,
    artifact_size_bytes: null,
    created_at: at,
    updated_at: at,
    hidden: { execution_log: null, replay_spec: replaySpec, accepted_at: null, was_best: false },
  });
}

/**
 * Gives a submission its final status. An accepted one may become the task's best, earns idea
 * rewards, and is the Pool's to pay. Inside a transaction.
 */
export function finishSubmission(
  state: CoordinatorState,
  submission: SubmissionRecord,
  result: { status: FinalStatus; observed_metrics: Metrics },
): SubmissionRecord {
  const task = findTask(state, submission.task_id);
  const at = now(state);
  const accepted = result.status === 'accepted';
  const isBest = accepted && beatsBest(state, task, result.observed_metrics);
  const finished = state.submissions.replace({
    ...submission,
    status: result.status,
    observed_metrics: result.observed_metrics,
    updated_at: at,
    hidden: { ...submission.hidden, accepted_at: accepted ? at : null, was_best: isBest },
  });
  if (isBest) {
    state.tasks.replace({ ...task, hidden: { ...task.hidden, best_submission_id: finished.id } });
  }
  if (accepted) recordIdeaReward(state, finished, at);
  return finished;
}

/** The metric a result must carry. Throws 400 when an accepted one lacks it. */
export function assertHasTaskMetric(task: TaskRecord, metrics: Metrics, member: string): void {
  if (metrics[task.metric_name] === undefined) {
    throw new Problem(400, `${member} must contain ${task.metric_name}`);
  }
}

/** The task's best accepted submission so far, or null. */
export function bestSubmission(state: CoordinatorState, task: TaskRecord): SubmissionRecord | null {
  const id = task.hidden.best_submission_id;
  return id === null ? null : state.submissions.get(id);
}

function beatsBest(state: CoordinatorState, task: TaskRecord, metrics: Metrics): boolean {
  const observed = metrics[task.metric_name];
  if (observed === undefined) return false;
  const best = bestSubmission(state, task)?.observed_metrics[task.metric_name];
  if (best === undefined) return true;
  const gain = toNumber(observed) - toNumber(best);
  return task.metric_direction === 'minimize' ? gain < 0 : gain > 0;
}

function recordIdeaReward(state: CoordinatorState, submission: SubmissionRecord, at: string): void {
  const implementedId = submission.implemented_submission_id;
  const implemented = implementedId === null ? null : state.submissions.get(implementedId);
  if (implemented === null || implemented.miner_hotkey === submission.miner_hotkey) return;
  state.ideaRewards.insert({
    id: newId(),
    task_id: submission.task_id,
    submission_id: submission.id,
    implemented_submission_id: implemented.id,
    proposer_hotkey: implemented.miner_hotkey,
    implementer_hotkey: submission.miner_hotkey,
    created_at: at,
  });
}

function insertJob(state: CoordinatorState, submission: SubmissionRecord): void {
  state.jobs.insert({
    id: newId(),
    submission_id: submission.id,
    task_id: submission.task_id,
    status: 'pending',
    observed_metrics: {},
    notes: null,
    validator_hotkey: null,
    created_at: submission.created_at,
    updated_at: submission.created_at,
    hidden: { replay_log: null, leased_to: null, leased_until: null },
  });
}

function assertFits(state: CoordinatorState, task: TaskRecord, body: SubmissionBody): void {
  const settings = state.settings.read();
  if (body.summary.trim() === '') throw fieldProblem('summary', 'must not be blank', 'value_error');
  assertHasTaskMetric(task, body.claimed_metrics, 'claimed_metrics');
  if (body.artifact_uri) {
    for (const field of ['artifact_sha256', 'artifact_size_bytes'] as const) {
      if (body[field] === undefined || body[field] === null) {
        throw fieldProblem(field, 'Field required with artifact_uri', 'missing');
      }
    }
  } else if (body.patch.trim() === '') {
    throw fieldProblem(
      'patch',
      'a non-empty patch or an artifact_uri is required',
      'value_error',
      settings.emptySubmissionStatusCode,
    );
  }
  if (
    settings.largePatchStatusCode !== null &&
    Buffer.byteLength(body.patch) > task.max_patch_bytes
  ) {
    throw new Problem(
      settings.largePatchStatusCode,
      `patch is larger than ${task.max_patch_bytes} bytes`,
    );
  }
}

/** The centerless rule (protocol 2.10): ideas of any status count, those of others make it binding. */
function assertIdeas(
  state: CoordinatorState,
  task: TaskRecord,
  hotkey: string,
  body: SubmissionBody,
): void {
  if (task.competition_mode !== 'centerless') return;
  const settings = state.settings.read();
  if (!body.proposed_idea?.trim()) {
    throw fieldProblem(
      'proposed_idea',
      'required on a centerless task',
      'value_error',
      settings.missingIdeaStatusCode,
    );
  }
  const ideas = state.submissions
    .list({ task_id: task.id })
    .filter((each) => each.proposed_idea !== null);
  const implementedId = body.implemented_submission_id || null;
  if (implementedId !== null && !ideas.some((each) => each.id === implementedId)) {
    throw new Problem(
      settings.missingImplementedIdeaStatusCode,
      'implemented_submission_id names no prior idea-bearing submission of this task',
    );
  }
  if (implementedId === null && ideas.some((each) => each.miner_hotkey !== hotkey)) {
    throw new Problem(
      settings.missingImplementedIdeaStatusCode,
      'implemented_submission_id is required: another miner has an idea-bearing submission on this task',
    );
  }
}
