/** Claims and work items: `active → submitted | cancelled | expired` (protocol 2.5, 2.9, 8). */
import { z } from 'zod';
import { toTimestamp } from '../state/clock.js';
import { Problem, notFound } from './problem.js';
import type { ClaimRecord } from './records.js';
import { freeWorkItem, newId, now, type CoordinatorState } from './state.js';
import { findOpenTask } from './tasks.js';

export const claimSchema = z.object({
  claim_description: z.string().min(1).max(4_000),
  base_submission_id: z.string().min(1).nullish(),
});

export const workItemClaimSchema = z.object({
  claim_description: z.string().max(4_000).optional(),
});

export const workItemCreationSchema = z.strictObject({
  task_id: z.string(),
  title: z.string().min(1),
  instructions: z.string().default(''),
  priority: z.number().int().default(0),
  base_submission_id: z.string().nullable().default(null),
});

export function claimTask(
  state: CoordinatorState,
  hotkey: string,
  taskId: string,
  body: z.output<typeof claimSchema>,
): ClaimRecord {
  const task = findOpenTask(state, taskId);
  const base = body.base_submission_id ?? null;
  if (base !== null && state.submissions.get(base)?.task_id !== task.id)
    throw notFound('Base submission');
  return insertClaim(state, {
    hotkey,
    taskId: task.id,
    description: body.claim_description,
    baseSubmissionId: base,
    workItemId: null,
  });
}

/** Takes an open work item. Throws 409 when somebody has it. */
export function claimWorkItem(
  state: CoordinatorState,
  hotkey: string,
  workItemId: string,
  body: z.output<typeof workItemClaimSchema>,
): ClaimRecord {
  const item = state.workItems.get(workItemId);
  if (item === null) throw notFound('Work item');
  if (item.status !== 'open') throw new Problem(409, `work item is ${item.status}`);
  const task = findOpenTask(state, item.task_id);
  return state.database.transact(() => {
    const claim = insertClaim(state, {
      hotkey,
      taskId: task.id,
      description: body.claim_description ?? item.title,
      baseSubmissionId: item.base_submission_id,
      workItemId: item.id,
    });
    state.workItems.replace({ ...item, status: 'claimed', claim_id: claim.id });
    return claim;
  });
}

export function cancelClaim(state: CoordinatorState, hotkey: string, claimId: string): ClaimRecord {
  const claim = ownClaim(state, hotkey, claimId);
  if (claim.status !== 'active') throw new Problem(409, `claim is ${claim.status}`);
  return state.database.transact(() => {
    freeWorkItem(state, claim);
    return state.claims.replace({ ...claim, status: 'cancelled', updated_at: now(state) });
  });
}

/** The claim, if this hotkey made it. Throws 404 or 403. */
export function ownClaim(state: CoordinatorState, hotkey: string, claimId: string): ClaimRecord {
  const claim = state.claims.get(claimId);
  if (claim === null) throw notFound('Claim');
  if (claim.miner_hotkey !== hotkey) throw new Problem(403, 'claim belongs to another hotkey');
  return claim;
}

/** Throws 429 when this hotkey made too many of these within the window. */
export function assertWithinRate(
  state: CoordinatorState,
  hotkey: string,
  kind: 'claims' | 'submissions',
): void {
  const limit = state.settings.read().rateLimit;
  if (limit === null) return;
  const since = toTimestamp(state.clock.nowMs() - limit.windowSeconds * 1_000);
  const made = state[kind]
    .list({ miner_hotkey: hotkey })
    .filter((record) => record.created_at > since).length;
  if (made < limit[kind]) return;
  throw new Problem(429, `too many ${kind}: ${made} in ${limit.windowSeconds} seconds`, {
    'retry-after': String(limit.retryAfterSeconds),
  });
}

function insertClaim(
  state: CoordinatorState,
  claim: {
    hotkey: string;
    taskId: string;
    description: string;
    baseSubmissionId: string | null;
    workItemId: string | null;
  },
): ClaimRecord {
  const settings = state.settings.read();
  assertWithinRate(state, claim.hotkey, 'claims');
  const active = state.claims.list({
    task_id: claim.taskId,
    miner_hotkey: claim.hotkey,
    status: 'active',
  });
  if (settings.secondActiveClaim === 'refused' && active.length > 0) {
    throw new Problem(409, 'this hotkey already has an active claim on the task');
  }
  const nowMs = state.clock.nowMs();
  return state.claims.insert({
    id: newId(),
    task_id: claim.taskId,
    miner_hotkey: claim.hotkey,
    claim_description: claim.description,
    status: 'active',
    base_submission_id: claim.baseSubmissionId,
    work_item_id: claim.workItemId,
    expires_at: toTimestamp(nowMs + settings.claimLifetimeSeconds * 1_000),
    created_at: toTimestamp(nowMs),
    updated_at: toTimestamp(nowMs),
  });
}
