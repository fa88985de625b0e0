/** What the coordinator's list says of our claims. */
import type { ClaimRecord } from '../adapters/coordinator/records.js';
import type { Claim, FileRef } from '../compiler/values.js';
import type { StepContext } from './step-type.js';

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
