import { z } from 'zod';
import type { ClaimRecord, SubmissionRecord } from '../adapters/coordinator/records.js';
import {
  artifactSchema,
  claimSchema,
  passVerdictSchema,
  patchSchema,
  submissionSchema,
  taskSchema,
  type Artifact,
  type Claim,
  type PassVerdict,
  type Patch,
  type Task,
} from '../compiler/values.js';
import { canonicalJson } from '../core/canonical-json.js';
import { NotYet, StepError, type StepErrorCode } from '../core/error.js';
import { plainText } from '../core/plain-text.js';
import {
  CLAIM_ACTIVE,
  CLAIM_CANCELLED,
  CLAIM_SUBMITTED,
  findClaim,
  SUBMISSION,
  submittedClaims,
} from './claim-lookup.js';
import {
  COORDINATOR_EFFECT_ERRORS,
  coordinatorSettleRule,
  judgeCoordinatorError,
  rethrowLostReply,
  sha256Of,
  toRetryRule,
} from './coordinator-effect.js';
import { effect, recordAlarm } from './effect.js';
import { defineStep, type StepContext } from './step-type.js';
import { toSubmissionBody } from './submission-body.js';
import { differingMembers } from './submission-difference.js';
import { withinDailyLimit } from './submission-limit.js';
import { findSubmission } from './submission-lookup.js';

const READ_AGAIN_MS = 5_000;

export const coordinatorSubmit = defineStep({
  name: 'coordinator.submit',
  summary:
    'Submits what the gate has passed on an active claim, once, and compares what was stored.',
  input: z.object({
    task: taskSchema.describe('The task.'),
    claim: claimSchema.describe('The claim to submit on.'),
    verdict: passVerdictSchema.describe(
      'Proof that the gate passed for exactly this patch and artifact.',
    ),
    patch: patchSchema.describe('The patch; may be empty.'),
    artifact: artifactSchema.describe('The published artifact.'),
  }),
  output: z.object({
    submission: submissionSchema.describe('The submission as the coordinator stored it.'),
  }),
  defaults: {
    timeout: '1h',
    heartbeat: '20s',
    retry: { attempts: 12, first: '2s', factor: 2, most: '2m' },
  },
  errors: [
    'GATE_NOT_PASSED',
    'CLAIM_EXPIRED',
    'CLAIM_NOT_ACTIVE',
    'SUBMISSION_DIFFERS',
    'SUBMISSION_LIMIT',
    ...COORDINATOR_EFFECT_ERRORS,
    'FILE_MISSING',
    'FILE_CHANGED',
  ],
  effect: true,
  submission: { role: 'submit', claim: 'claim', verdict: 'verdict' },
  example: `
- id: submit
  uses: coordinator.submit
  with:
    task: \${{ steps.discover.task }}
    claim: \${{ steps.claim.claim }}
    verdict: \${{ steps.verdict.verdict }}
    patch: \${{ steps.patch.patch }}
    artifact: \${{ steps.published.artifact }}
`,
  run: async (input, context) => {
    const { coordinator, store, wallet } = context.adapters;
    assertVerdictCovers(input);
    const { claim, patch, verdict } = input;
    const text = (await store.read(patch.file)).toString('utf8');
    const body = toSubmissionBody({ claimId: claim.id, verdict, artifact: input.artifact }, text);
    const hotkey = await wallet.address();
    let seen: ClaimRecord | null = null;
    const created = await effect(context, {
      what: SUBMISSION,
      hotkey,
      intent: {
        claimId: claim.id,
        patchSha256: verdict.patchSha256,
        artifactSha256: verdict.artifactSha256,
        verdict: verdict.report.sha256,
      },
      sentSha256: sha256Of(canonicalJson(body)),
      settle: coordinatorSettleRule(context),
      askUntilMs: () => askUntilMs(context, claim, seen),
      probe: async (record) => {
        const looked = await findSubmission(context, claim, body, record);
        seen = looked.claim;
        return looked.probed;
      },
      act: async (sending) => {
        assertClaimUsable(context, claim, seen);
        const begin = (signedAtMs: number): Promise<void> =>
          withinDailyLimit(context, hotkey, () => sending.begin(signedAtMs));
        return coordinator
          .submit(body, context.signal, { ...sending, begin })
          .catch(rethrowLostReply);
      },
      judge: judgeCoordinatorError,
      evidence: ({ known }) => ({ id: known.id, claimId: known.claim_id ?? claim.id }),
    }).catch(async (error: unknown) => {
      // Held, with nothing under way: on a claim that is over there is nothing left to wait for.
      if (error instanceof NotYet && error.code === 'EFFECTS_HELD') {
        assertClaimUsable(context, claim, seen);
      }
      // A refusal on a claim that is over has that reason, whatever words and status it came with.
      if (isRefusal(error)) {
        seen = await findClaim(context, claim);
        assertClaimUsable(context, claim, seen);
      }
      const ruled = await toRetryRule(context, error);
      throw withAskUntil(ruled, askUntilMs(context, claim, seen));
    });

    const stored = await readBack(context, created.known.id);
    const record = await store.putBytes(`${JSON.stringify(stored.raw, null, 2)}\n`);
    const claimId = await claimOf(context, claim, stored.known.claim_id ?? created.known.claim_id);
    const differing = [
      ...differingMembers({ ...body, claim_id: claimId }, stored.raw),
      ...(stored.known.miner_hotkey === hotkey ? [] : ['miner_hotkey']),
    ];
    if (differing.length > 0) {
      const message = `The coordinator stored the submission ${stored.known.id} with another ${differing.join(', ')} than was sent.`;
      await recordAlarm(context, message);
      throw new StepError('SUBMISSION_DIFFERS', message, {
        hint: `Do not submit again. What is stored is kept as ${record.uri}; ask the operator of the coordinator.`,
      });
    }
    context.progress({ submission: stored.known.id, status: plainText(stored.known.status, 40) });
    return {
      submission: {
        id: stored.known.id,
        taskId: claim.taskId,
        claimId,
        status: stored.known.status,
        ...(stored.known.created_at === undefined
          ? {}
          : { createdAt: new Date(stored.known.created_at).toISOString() }),
        record,
      },
    };
  },
});

/** The submission as it is stored. Throws NotYet while what was just made does not show. */
async function readBack({ adapters, signal }: StepContext, id: string): Promise<SubmissionRecord> {
  try {
    return await adapters.coordinator.submission(id, signal);
  } catch (error) {
    if (!(error instanceof StepError) || error.code !== 'COORDINATOR_NOT_FOUND') throw error;
    const message = `The submission ${id} was made, and cannot be read back yet: ${error.message}`;
    throw new NotYet('EFFECT_SETTLING', message, READ_AGAIN_MS);
  }
}

/** The claim that a submission of this effect lies on: it may have been adopted from an earlier one of this round. */
async function claimOf(
  { adapters, call }: StepContext,
  claim: Claim,
  stored: string | null | undefined,
): Promise<string> {
  const record = await adapters.evidence.readEffect(call.roundId, call.path);
  const earlier = record === null ? [] : submittedClaims(record);
  return earlier.find((id) => id === stored) ?? claim.id;
}

function isRefusal(error: unknown): boolean {
  return error instanceof StepError && REFUSALS.has(error.code);
}

const REFUSALS: ReadonlySet<StepErrorCode> = new Set([
  'COORDINATOR_CONFLICT',
  'COORDINATOR_REFUSED',
  'COORDINATOR_FORBIDDEN',
  'COORDINATOR_NOT_FOUND',
]);

interface Work {
  readonly task: Task;
  readonly claim: Claim;
  readonly verdict: PassVerdict;
  readonly patch: Patch;
  readonly artifact: Artifact;
}

/** A verdict is about these very bytes, or it is about something else. */
function assertVerdictCovers({ task, claim, verdict, patch, artifact }: Work): void {
  const pairs: ReadonlyArray<readonly [string, unknown, unknown]> = [
    ['task', verdict.taskId, task.id],
    ["claim's task", verdict.taskId, claim.taskId],
    ['patch', verdict.patchSha256, patch.file.sha256],
    ['commit', verdict.commit, patch.commit],
    ['artifact', verdict.artifactSha256, artifact.file.sha256],
    ["artifact's size", verdict.artifactSizeBytes, artifact.file.sizeBytes],
    ["artifact's address", verdict.artifactUri, artifact.uri],
    ['metric', verdict.metric, task.metricName],
  ];
  for (const [what, judged, given] of pairs) {
    if (judged === given) continue;
    throw new StepError(
      'GATE_NOT_PASSED',
      `The verdict is about another ${what}: ${String(judged)}, not ${String(given)}.`,
      { hint: 'Submit what the gate has judged, nothing else.' },
    );
  }
  if (!/^[0-9a-f]{40}$/.test(verdict.commit)) {
    throw new StepError(
      'GATE_NOT_PASSED',
      `The verdict's commit "${verdict.commit}" is not 40 hex digits.`,
    );
  }
  if (!Object.hasOwn(verdict.claimedMetrics, task.metricName)) {
    throw new StepError('GATE_NOT_PASSED', `The verdict claims no ${task.metricName}.`, {
      hint: 'A submission must claim the metric of its task.',
    });
  }
}

/**
 * Throws unless the claim may be submitted on, and stays so for the margin (protocol 2.5): by what a look has just
 * shown, else by what the claim step returned a moment ago. No request of its own: the coordinator judges as well.
 */
function assertClaimUsable(context: StepContext, claim: Claim, seen: ClaimRecord | null): void {
  const marginMs = context.adapters.settings.claimMarginSeconds * 1_000;
  const expiresAt = seen?.known.expires_at ?? Date.parse(claim.expiresAt);
  const status = seen?.known.status ?? claim.status;
  if (status === CLAIM_SUBMITTED) {
    throw new StepError('COORDINATOR_CONFLICT', `The claim ${claim.id} was submitted on already.`, {
      hint: 'A submission that is not of this run may lie on it; look at the coordinator.',
    });
  }
  const isOver = expiresAt - marginMs <= Date.now();
  if (isOver || (status !== CLAIM_ACTIVE && status !== CLAIM_CANCELLED)) {
    throw new StepError(
      'CLAIM_EXPIRED',
      `The claim ${claim.id} ${isOver ? 'ends' : 'ended'} at ${new Date(expiresAt).toISOString()}; its status is "${plainText(status, 40)}".`,
      {
        hint: 'Nothing was submitted. Start the run again: it claims anew once everything is ready.',
      },
    );
  }
  if (status !== CLAIM_ACTIVE) {
    throw new StepError('CLAIM_NOT_ACTIVE', `The claim ${claim.id} is "${status}".`, {
      hint: 'Nothing was submitted. Start the run again.',
    });
  }
}

/** Whoever is asked about a failure must not be waited for while the claim runs out. */
function withAskUntil(error: unknown, untilMs: number | undefined): unknown {
  if (untilMs === undefined) return error;
  if (error instanceof NotYet) {
    return new NotYet(error.code, error.message, error.afterMs, untilMs);
  }
  if (!(error instanceof StepError) || error.askUntilMs !== undefined) return error;
  const { code, message, hint, retryAfterMs } = error;
  return new StepError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    askUntilMs: untilMs,
    cause: error,
  });
}

/** A claim that is active must not run out while a person is asked; without one there is no hurry. */
function askUntilMs(
  { adapters }: StepContext,
  claim: Claim,
  seen: ClaimRecord | null,
): number | undefined {
  if (seen !== null && seen.known.status !== CLAIM_ACTIVE) return undefined;
  const expiresAt = seen?.known.expires_at ?? Date.parse(claim.expiresAt);
  return expiresAt - adapters.settings.claimMarginSeconds * 1_000;
}
