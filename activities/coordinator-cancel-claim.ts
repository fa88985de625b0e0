import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { claimSchema, submissionSchema, type Claim } from '../compiler/values.js';
import type { EffectRecord } from '../core/effect-record.js';
import { NotYet, StepError } from '../core/error.js';
import { plainText } from '../core/plain-text.js';
import { CLAIM_ACTIVE, findClaim, submissionsOnClaim } from './claim-lookup.js';
import { coordinatorSettleRule, judgeCoordinatorError, sha256Of } from './coordinator-effect.js';
import { settledAtMs, settlesInMs } from './effect-settling.js';
import { effect } from './effect.js';
import { defineStep, type StepContext } from './step-type.js';

const TRIES = 3;
const FIRST_WAIT_MS = 1_000;
/** Giving a claim back twice is one cancellation, so nothing has to settle before it is repeated. */
const AT_ONCE = { windowMs: 0, lagMs: 0 };
/** A wait that ends within this of the step's time would end as a failure. */
const DEADLINE_MARGIN_MS = 3_000;
const LOOK_EVERY_MS = 30_000;

interface Outcome {
  readonly cancelled: boolean;
  readonly reason: string;
}

export const coordinatorCancelClaim = defineStep({
  name: 'coordinator.cancel_claim',
  summary:
    'Gives an unused claim back; does nothing without a claim, or once it was or may have been submitted on.',
  input: z.object({
    claim: claimSchema.optional().describe('The claim, if one was made.'),
    submission: submissionSchema
      .optional()
      .describe('The submission, if there is one: the claim is then used.'),
  }),
  output: z.object({
    cancelled: z.boolean().describe('True when the claim was given back now.'),
    reason: z.string().describe('Why, or why not.'),
  }),
  defaults: { timeout: '10m', heartbeat: '20s', retry: { attempts: 1 } },
  errors: [],
  effect: true,
  submission: { role: 'cancel', claim: 'claim' },
  example: `
- uses: coordinator.cancel_claim
  with:
    claim: \${{ steps.claim.claim }}
    submission: \${{ steps.submit.submission }}
`,
  run: async ({ claim, submission }, context) => {
    if (submission !== undefined && (claim === undefined || submission.claimId === claim.id)) {
      return { cancelled: false, reason: `It was submitted as ${submission.id}.` };
    }
    if (claim === undefined) return { cancelled: false, reason: 'There is no claim to give back.' };
    let waitMs = FIRST_WAIT_MS;
    for (let tries = 1; ; tries += 1) {
      try {
        return await giveBack(context, claim);
      } catch (error) {
        // A claim ends by itself: no failure here may cover up why the round ended.
        if (error instanceof NotYet && mayWait(context, claim, error.afterMs)) throw error;
        if (!(error instanceof NotYet) && !(error instanceof StepError)) throw error;
        if (error instanceof NotYet || tries === TRIES) {
          return {
            cancelled: false,
            reason: `It is left to expire at ${claim.expiresAt}: ${error.message}`,
          };
        }
        waitMs = Math.max(waitMs, Math.min(error.retryAfterMs ?? 0, LOOK_EVERY_MS));
      }
      await sleep(waitMs, undefined, { signal: context.signal });
      waitMs *= 2;
    }
  },
});

function mayWait({ deadlineMs }: StepContext, claim: Claim, afterMs: number): boolean {
  const atMs = Date.now() + afterMs;
  const isInTime = deadlineMs === null || atMs < deadlineMs - DEADLINE_MARGIN_MS;
  return isInTime && atMs < Date.parse(claim.expiresAt);
}

/** Throws NotYet while a submission on the claim may still arrive, or while effects are held. */
async function giveBack(context: StepContext, claim: Claim): Promise<Outcome> {
  const { adapters, call, signal } = context;
  const submissions = submissionsOnClaim(
    await adapters.evidence.readEffects(call.roundId),
    claim.id,
  );
  if (submissions.length > 0) {
    const settled = await settleSubmissions(context, claim, submissions);
    if (settled !== null) return settled;
  }
  const seen = await findClaim(context, claim);
  const unusable = toUnusable(claim, seen?.known.status);
  if (unusable !== null) return unusable;
  return effect<Outcome>(context, {
    what: 'claim cancellation',
    hotkey: claim.hotkey,
    intent: { claimId: claim.id },
    sentSha256: sha256Of(''),
    settle: AT_ONCE,
    probe: async () => {
      const now = await findClaim(context, claim);
      if (now?.known.status === CLAIM_ACTIVE) return { kind: 'absent' };
      const value = toUnusable(claim, now?.known.status);
      return value === null ? { kind: 'absent' } : { kind: 'found', value };
    },
    act: async (sending) => {
      await adapters.coordinator.cancelClaim(claim.id, signal, sending);
      return { cancelled: true, reason: 'Nothing was submitted on it.' };
    },
    judge: judgeCoordinatorError,
    evidence: ({ reason }) => ({ claimId: claim.id, reason }),
  });
}

/** Null for a claim that is active. */
function toUnusable(claim: Claim, status: string | undefined): Outcome | null {
  if (status === CLAIM_ACTIVE) return null;
  return {
    cancelled: false,
    reason:
      status === undefined
        ? `The coordinator's list does not hold it; it is left to expire at ${claim.expiresAt}.`
        : `Its status is "${plainText(status, 40)}".`,
  };
}

/**
 * Null once it is certain that nothing was submitted on the claim and nothing can be any more; otherwise why the claim
 * stays as it is.
 */
async function settleSubmissions(
  context: StepContext,
  claim: Claim,
  submissions: readonly EffectRecord[],
): Promise<Outcome | null> {
  const rule = coordinatorSettleRule(context);
  const untilMs = Math.max(...submissions.map((record) => settledAtMs(record, rule)));
  const { own, foreign } = await context.adapters.coordinator.submissionsOn(
    claim.taskId,
    [claim.id],
    context.signal,
  );
  const stored = own.find(({ known }) => known.claim_id === claim.id);
  if (stored !== undefined) {
    return { cancelled: false, reason: `It was submitted as ${stored.known.id}.` };
  }
  const other = foreign[0];
  if (other !== undefined) {
    return {
      cancelled: false,
      reason: `It is left to expire at ${claim.expiresAt}: the submission ${other.id} of another hotkey names it.`,
    };
  }
  if (submissions.some(({ tries }) => tries.some(({ outcome }) => outcome === 'done'))) {
    return {
      cancelled: false,
      reason: `It is left to expire at ${claim.expiresAt}: a submission on it was stored once, and is listed no more.`,
    };
  }
  const waitMs = settlesInMs(untilMs, rule);
  if (waitMs <= 0) return null;
  const until = new Date(untilMs).toISOString();
  if (untilMs >= Date.parse(claim.expiresAt)) {
    return {
      cancelled: false,
      reason: `It is left to expire at ${claim.expiresAt}: a submission on it may still arrive until ${until}.`,
    };
  }
  context.progress({ settling: 'whether it was submitted on', until });
  throw new NotYet(
    'EFFECT_SETTLING',
    `A submission on it may still arrive until ${until}.`,
    Math.min(waitMs, LOOK_EVERY_MS),
  );
}
