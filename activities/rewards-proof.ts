import { z } from 'zod';
import type { Verification } from '../adapters/merkle/proof-verifier.js';
import type { ServedEpoch, ServedPackage } from '../adapters/pool/pool.js';
import { acceptanceSchema, rewardProofSchema, type FileRef } from '../compiler/values.js';
import { NotYet, STEP_ERRORS, StepError } from '../core/error.js';
import { defineStep, type StepContext } from './step-type.js';

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 600_000;
const WAIT_FACTOR = 1.5;

export const rewardsProof = defineStep({
  name: 'rewards.proof',
  summary:
    "Waits for the hotkey's newest claim package at the Pool and verifies its Merkle proof; amounts are cumulative.",
  input: z.object({
    acceptance: acceptanceSchema.describe('The acceptance that a reward is expected for.'),
    after_epoch: z
      .string()
      .regex(/^\d{1,20}$/)
      .optional()
      .describe(
        'Newest epoch before the round: a package names no submission, so an older one proves an older reward.',
      ),
  }),
  output: z.object({
    proof: rewardProofSchema.describe('The package, verified, for the pinned recipient.'),
  }),
  defaults: {
    timeout: '7d',
    heartbeat: '20s',
    retry: { attempts: 20, first: '5s', factor: 2, most: '10m' },
  },
  errors: [
    'SETTING_MISSING',
    'SETTING_INVALID',
    'POOL_UNAVAILABLE',
    'POOL_REPLY_INVALID',
    'PROOF_NOT_PUBLISHED',
    'PROOF_ROOT_UNAVAILABLE',
    'PROOF_INVALID',
    'PROOF_PROFILE_UNKNOWN',
    'PROOF_RECIPIENT_MISMATCH',
  ],
  example: `
- id: rewarded
  uses: rewards.proof
  with:
    acceptance: \${{ steps.acceptance.acceptance }}
`,
  run: async ({ after_epoch: afterEpoch }, context) => {
    const { adapters, attempt, progress, signal } = context;
    const { pool, proofVerifier, settings, store, wallet } = adapters;
    const recipient = settings.recipient;
    if (recipient === null) {
      throw new StepError('SETTING_MISSING', 'No recipient is pinned.', {
        hint: 'Set ADIT_RECIPIENT to the coldkey address that rewards must be paid to.',
      });
    }
    const hotkey = await wallet.address();
    const served = await look(context, () => pool.newestPackage(hotkey, signal, afterEpoch));
    if (served === null) {
      progress({ waitingFor: 'claim package' });
      throw new NotYet(
        'PROOF_NOT_PUBLISHED',
        `The Pool has published no claim package for ${hotkey}${afterEpoch === undefined ? '' : ` after epoch ${afterEpoch}`} yet.`,
        waitMs(attempt),
      );
    }
    const epoch = await look(context, () => pool.epoch(served.claim.epoch, signal));
    const rootsAgree = served.claim.root === epoch.root;
    const verification: Verification = rootsAgree
      ? await proofVerifier.verify(
          served.claim,
          { root: epoch.root, leafCount: epoch.leafCount, contract: settings.claimContract },
          pool.rootScope,
        )
      : { result: 'invalid', tried: [] };

    const file = await store.putBytes(
      `${JSON.stringify({ ...evidenceOf({ served, epoch, rootsAgree, verification, recipient }), contract: settings.claimContract }, null, 2)}\n`,
    );
    const { claim } = served;
    const problem = findProblem({ served, epoch, rootsAgree, verification, recipient, file });
    if (problem !== null) throw problem;
    return {
      proof: {
        epoch: claim.epoch,
        index: claim.index,
        hotkey: claim.hotkey,
        recipient: claim.recipient,
        amount: claim.amount,
        root: epoch.root,
        rootSource: epoch.rootSource,
        comparedWithChain: false,
        result: verification.result,
        ...(verification.result === 'verified' ? { profile: verification.profile } : {}),
        file,
      },
    };
  },
});

/** An outage in days of waiting is no failure: it is looked at again. */
async function look<Value>(
  { attempt, progress }: StepContext,
  ask: () => Promise<Value>,
): Promise<Value> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof StepError) || !STEP_ERRORS[error.code].retryable) throw error;
    progress({ waitingFor: error.code });
    const { code, message, hint } = error;
    throw new NotYet(code, hint === undefined ? message : `${message} ${hint}`, waitMs(attempt));
  }
}

/** Grows from a second to ten minutes, so that an early package is seen early and a late one costs little. */
function waitMs(attempt: number): number {
  return Math.round(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * WAIT_FACTOR ** (attempt - 1)));
}

interface Findings {
  readonly served: ServedPackage;
  readonly epoch: ServedEpoch;
  readonly rootsAgree: boolean;
  readonly verification: Verification;
  /** The pinned recipient. */
  readonly recipient: string;
}

/** Kept whatever comes of it: a forged package is evidence too. */
function evidenceOf({ served, epoch, rootsAgree, verification, recipient }: Findings): object {
  return {
    format: 'adit-reward-proof/1',
    claim: served.claim,
    claimAsServed: served.text,
    epochAsServed: epoch.text,
    root: epoch.root,
    rootSource: epoch.rootSource,
    rootsAgree,
    comparedWithChain: false,
    leafCount: epoch.leafCount,
    leafCountSource:
      epoch.leafCount === null
        ? 'not known: some number of leaves fits'
        : 'member num_of_leaves of the same record',
    expectedRecipient: recipient,
    verification,
  };
}

/** The first reason not to take the package for a proof; null when there is none. */
function findProblem(findings: Findings & { readonly file: FileRef }): StepError | null {
  const { served, epoch, rootsAgree, verification, recipient, file } = findings;
  const { claim } = served;
  const kept = `The package and the verification are kept in ${file.uri}.`;

  if (claim.recipientSource === 'hotkey') {
    return new StepError(
      'PROOF_RECIPIENT_MISMATCH',
      `The package of epoch ${claim.epoch} names no recipient; ${recipient} is pinned.`,
      {
        hint: `Its payee would silently be the hotkey. Tell the Pool your recipient coldkey. ${kept}`,
      },
    );
  }
  if (claim.recipient !== recipient) {
    return new StepError(
      'PROOF_RECIPIENT_MISMATCH',
      `The package of epoch ${claim.epoch} pays ${claim.recipient}, not the pinned recipient ${recipient}.`,
      { hint: `Check the mapping of your hotkey at the Pool, and ADIT_RECIPIENT. ${kept}` },
    );
  }
  if (!rootsAgree) {
    return new StepError(
      'PROOF_INVALID',
      `The package of epoch ${claim.epoch} has root ${claim.root}, but the epoch's root is ${epoch.root}.`,
      { hint: kept },
    );
  }
  if (epoch.leafCount !== null && claim.index >= epoch.leafCount) {
    return new StepError(
      'PROOF_INVALID',
      `The package of epoch ${claim.epoch} claims leaf ${claim.index} of a tree of ${epoch.leafCount}, counted from 0.`,
      { hint: kept },
    );
  }
  if (verification.result === 'invalid') {
    return new StepError(
      'PROOF_INVALID',
      `The Merkle proof of epoch ${claim.epoch} does not lead to its root under ${verification.tried.join(' or ')}.`,
      { hint: `Earlier proofs of this Pool, or the settings, allow no other encoding. ${kept}` },
    );
  }
  if (verification.result === 'unknown_profile') {
    return new StepError(
      'PROOF_PROFILE_UNKNOWN',
      `The Merkle proof of epoch ${claim.epoch} fits none of the ${verification.triedCount} known encodings, so it is not verified.`,
      {
        hint: `Only a dry run on the chain could still tell. If the contract's encoding is known, set ADIT_MERKLE_PROFILE. ${kept}`,
      },
    );
  }
  return null;
}
