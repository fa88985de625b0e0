/** What the coordinator's list says of our claims. */
import type { ClaimRecord } from '../adapters/coordinator/records.js';
import type { Claim, FileRef } from '../compiler/values.js';
import type { EffectRecord } from '../core/effect-record.js';
import { isPossiblyDone } from './effect-settling.js';
import type { StepContext } from './step-type.js';

/** The `what` of the effect that submits. */
export const SUBMISSION = 'submission';

/** Statuses whose spelling is known; an expired claim's is not (protocol 2.5). */
export const CLAIM_ACTIVE = 'active';
export const CLAIM_SUBMITTED = 'submitted';
export const CLAIM_CANCELLED = 'cancelled';

/** The claim as it is now; null when the list of our claims on its task does not hold it. */
export async function findClaim(
  { adapters, signal }: StepContext,
  claim: Pick<Claim, 'id' | 'taskId'>,
): Promise<ClaimRecord | null> {
  const claims = await adapters.coordinator.ownClaims(claim.taskId, signal);
  return claims.find(({ known }) => known.id === claim.id) ?? null;
}

/** True while it may still be submitted on, whatever its status says after its time. */
export function isActive({ known }: ClaimRecord, nowMs: number): boolean {
  return known.status === CLAIM_ACTIVE && known.expires_at > nowMs;
}

export function toClaimValue({ known }: ClaimRecord, record: FileRef): Claim {
  return {
    id: known.id,
    taskId: known.task_id,
    hotkey: known.miner_hotkey,
    status: known.status,
    description: known.claim_description,
    expiresAt: new Date(known.expires_at).toISOString(),
    createdAt: new Date(known.created_at).toISOString(),
    record,
  };
}

/** Ids of the claims that an effect of submitting was, or is, about. */
export function submittedClaims({ intent, tries }: EffectRecord): string[] {
  const ids = [intent, ...tries.map(({ about }) => about)].map((about) => about?.['claimId']);
  return [...new Set(ids.filter((id) => typeof id === 'string'))];
}

/** Of the effects of a round, those that may have submitted on a claim, or may do it yet. */
export function submissionsOnClaim(
  effects: readonly EffectRecord[],
  claimId: string,
): EffectRecord[] {
  return effects.filter(
    (record) =>
      record.what === SUBMISSION &&
      submittedClaims(record).includes(claimId) &&
      isPossiblyDone(record),
  );
}
