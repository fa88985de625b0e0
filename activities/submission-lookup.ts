/** What the coordinator's lists say about a submission of ours that may have been made (protocol 2.6, 2.7). */
import type { SubmissionBody } from '../adapters/coordinator/coordinator.js';
import type { ClaimRecord, SubmissionRecord } from '../adapters/coordinator/records.js';
import type { Claim } from '../compiler/values.js';
import type { EffectRecord } from '../core/effect-record.js';
import { CLAIM_ACTIVE, CLAIM_CANCELLED, CLAIM_SUBMITTED, submittedClaims } from './claim-lookup.js';
import { recordAlarm, type Probed } from './effect.js';
import type { StepContext } from './step-type.js';
import { differingMembers, identifiesWork } from './submission-difference.js';

/** Our submission on this claim, or on an earlier claim of this effect; and the claim as it is now. */
export async function findSubmission(
  context: StepContext,
  claim: Claim,
  body: SubmissionBody,
  record: EffectRecord,
): Promise<{ probed: Probed<SubmissionRecord>; claim: ClaimRecord | null }> {
  const { coordinator } = context.adapters;
  const claimIds = [...new Set([claim.id, ...submittedClaims(record)])];
  const { own, foreign } = await coordinator.submissionsOn(claim.taskId, claimIds, context.signal);
  const ofOthers = foreign[0];
  if (ofOthers !== undefined) {
    const { id, claimId, hotkey } = ofOthers;
    const alarm = `the submission ${id} of the hotkey ${hotkey} names our claim ${claimId}.`;
    await recordAlarm(context, alarm);
  }
  const byClaim = own.find(({ known }) => claimIds.includes(known.claim_id ?? ''));
  if (byClaim !== undefined) return { probed: { kind: 'found', value: byClaim }, claim: null };

  // After the submissions: one that is stored between the two shows as a claim that was submitted on.
  const claims = await coordinator.ownClaims(claim.taskId, context.signal);
  const seen = claims.find(({ known }) => known.id === claim.id) ?? null;
  const probed = judge({ claimIds, claims, own, body, record, lagMs: lagMsOf(context) });
  if (ofOthers === undefined || probed.kind === 'found') return { probed, claim: seen };
  const reason = `the submission ${ofOthers.id} on our claim ${ofOthers.claimId} is of another hotkey, ${ofOthers.hotkey}.`;
  return { probed: { kind: 'unknown', reason }, claim: seen };
}

function judge({
  claimIds,
  claims,
  own,
  body,
  record,
  lagMs,
}: {
  readonly claimIds: readonly string[];
  readonly claims: readonly ClaimRecord[];
  readonly own: readonly SubmissionRecord[];
  readonly body: SubmissionBody;
  readonly record: EffectRecord;
  readonly lagMs: number;
}): Probed<SubmissionRecord> {
  const seen = claimIds.map((id) => [id, claims.find(({ known }) => known.id === id)] as const);
  for (const [id, claim] of seen) {
    if (claim === undefined) {
      return { kind: 'unknown', reason: `the coordinator's list holds no claim ${id} of ours.` };
    }
    if (claim.known.status !== CLAIM_SUBMITTED) continue;
    // The claim was used, so one of those that name no claim is the one: the newest of equal content.
    const byContent = own.findLast(
      ({ known, raw }) =>
        typeof known.claim_id !== 'string' &&
        identifiesWork(raw) &&
        differingMembers({ ...body, claim_id: id }, raw).length === 0,
    );
    if (byContent !== undefined) return { kind: 'found', value: byContent };
    return {
      kind: 'unknown',
      reason: `the claim ${id} is "submitted", and none of our ${own.length} submissions on the task is the one.`,
    };
  }
  if (record.tries.some(({ outcome }) => outcome === 'done')) {
    return { kind: 'unknown', reason: 'it was stored once, and is listed no more.' };
  }
  return {
    kind: 'absent',
    certain: seen.every(([, claim]) => claim !== undefined && isOver(claim, lagMs)),
    reason: 'no submission on the claim is listed.',
  };
}

/** Ended by the coordinator's own word: no request on it can be taken any more. */
function isOver({ known }: ClaimRecord, lagMs: number): boolean {
  if (known.status === CLAIM_CANCELLED) return true;
  return known.status !== CLAIM_ACTIVE && known.expires_at + lagMs < Date.now();
}

function lagMsOf({ adapters }: StepContext): number {
  return adapters.settings.coordinatorLagSeconds * 1_000;
}
