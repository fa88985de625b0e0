import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { claimSchema, submissionSchema, type Claim } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import { plainText } from '../core/plain-text.js';
import { CLAIM_ACTIVE, findClaim } from './claim-lookup.js';
import { defineStep, type StepContext } from './step-type.js';

const TRIES = 3;
const FIRST_WAIT_MS = 1_000;

export const coordinatorCancelClaim = defineStep({
  name: 'coordinator.cancel_claim',
  summary: 'Gives an unused claim back; does nothing without a claim or once it was submitted on.',
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
  example: `
- uses: coordinator.cancel_claim
  with:
    claim: \${{ steps.claim.claim }}
    submission: \${{ steps.submit.submission }}
`,
  run: async ({ claim, submission }, context) => {
    if (submission !== undefined)
      return { cancelled: false, reason: `It was submitted as ${submission.id}.` };
    if (claim === undefined) return { cancelled: false, reason: 'There is no claim to give back.' };
    let waitMs = FIRST_WAIT_MS;
    for (let tries = 1; ; tries += 1) {
      try {
        return await cancel(context, claim);
      } catch (error) {
        // A claim ends by itself: no failure here may cover up why the round ended.
        if (!(error instanceof StepError)) throw error;
        if (tries === TRIES) {
          return {
            cancelled: false,
            reason: `It is left to expire at ${claim.expiresAt}: ${error.message}`,
          };
        }
      }
      await sleep(waitMs, undefined, { signal: context.signal });
      waitMs *= 2;
    }
  },
});

async function cancel(
  context: StepContext,
  claim: Claim,
): Promise<{ cancelled: boolean; reason: string }> {
  const { coordinator } = context.adapters;
  const seen = await findClaim(context, claim);
  if (seen === null) {
    return {
      cancelled: false,
      reason: `The coordinator's list does not hold it; it is left to expire at ${claim.expiresAt}.`,
    };
  }
  if (seen.known.status !== CLAIM_ACTIVE) {
    return { cancelled: false, reason: `Its status is "${plainText(seen.known.status, 40)}".` };
  }
  await coordinator.cancelClaim(claim.id, context.signal);
  return { cancelled: true, reason: 'Nothing was submitted on it.' };
}
