import { z } from 'zod';
import type { SubmissionBody } from '../adapters/coordinator/coordinator.js';
import type { SubmissionRecord } from '../adapters/coordinator/records.js';
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
import { StepError, type StepErrorCode } from '../core/error.js';
import { plainText } from '../core/plain-text.js';
import { CLAIM_ACTIVE, CLAIM_CANCELLED, CLAIM_SUBMITTED, findClaim } from './claim-lookup.js';
import { effect, type Probed } from './effect.js';
import { defineStep, type StepContext } from './step-type.js';
import { differingMembers, identifiesWork } from './submission-difference.js';

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
    'EFFECT_UNKNOWN',
    'STAKE_INSUFFICIENT',
    'CLOCK_SKEWED',
    'COORDINATOR_UNAVAILABLE',
    'COORDINATOR_REPLY_INVALID',
    'COORDINATOR_REDIRECTED',
    'COORDINATOR_RATE_LIMITED',
    'COORDINATOR_UNAUTHORIZED',
    'COORDINATOR_FORBIDDEN',
    'COORDINATOR_NOT_FOUND',
    'COORDINATOR_CONFLICT',
    'COORDINATOR_REFUSED',
    'FILE_MISSING',
    'FILE_CHANGED',
  ],
  effect: true,
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
    const { coordinator, store } = context.adapters;
    assertVerdictCovers(input);
    const { claim, patch, verdict } = input;
    const body = toBody(input, (await store.read(patch.file)).toString('utf8'));
    const created = await effect(context, {
      intent: {
        what: 'submission',
        claimId: claim.id,
        patchSha256: verdict.patchSha256,
        artifactSha256: verdict.artifactSha256,
        verdict: verdict.report.sha256,
      },
      probe: () => findOwn(context, claim, body),
      act: async () => {
        await assertClaimActive(context, claim);
        return coordinator.submit(body, context.signal);
      },
    }).catch(async (error: unknown) => {
      // A refusal on a claim that is over has that reason, whatever words and status it came with.
      if (isRefusal(error)) await assertClaimActive(context, claim);
      throw error;
    });

    const stored = await coordinator.submission(created.known.id, context.signal);
    const record = await store.putBytes(`${JSON.stringify(stored.raw, null, 2)}\n`);
    const differing = differingMembers(body, stored.raw);
    if (differing.length > 0) {
      throw new StepError(
        'SUBMISSION_DIFFERS',
        `The coordinator stored the submission ${stored.known.id} with another ${differing.join(', ')} than was sent.`,
        {
          hint: `Do not submit again. What is stored is kept as ${record.uri}; ask the operator of the coordinator.`,
        },
      );
    }
    context.progress({ submission: stored.known.id, status: plainText(stored.known.status, 40) });
    return {
      submission: {
        id: stored.known.id,
        taskId: claim.taskId,
        claimId: claim.id,
        status: stored.known.status,
        ...(stored.known.created_at === undefined
          ? {}
          : { createdAt: new Date(stored.known.created_at).toISOString() }),
        record,
      },
    };
  },
});

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

/** The body of protocol 2.6; what is absent is left out. */
function toBody({ claim, verdict, artifact }: Work, patch: string): SubmissionBody {
  const { summary, proposedIdea, implementedSubmissionId } = verdict.statement;
  const idea = proposedIdea?.trim() ?? '';
  const implemented = implementedSubmissionId?.trim() ?? '';
  return {
    claim_id: claim.id,
    base_ref: verdict.commit,
    patch,
    summary: summary.trim(),
    claimed_metrics: verdict.claimedMetrics,
    ...(idea === '' ? {} : { proposed_idea: idea }),
    ...(implemented === '' ? {} : { implemented_submission_id: implemented }),
    ...(artifact.uri === undefined
      ? {}
      : {
          artifact_uri: artifact.uri,
          artifact_sha256: artifact.file.sha256,
          artifact_size_bytes: artifact.file.sizeBytes,
        }),
  };
}

/** The claim must be seen active, and must stay so for the margin (protocol 2.5). */
async function assertClaimActive(context: StepContext, claim: Claim): Promise<void> {
  const marginMs = context.adapters.settings.claimMarginSeconds * 1_000;
  const seen = await findClaim(context, claim);
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

/** Our submission on this claim: by its claim id where served, else by its content (protocol 2.6, 2.7). */
async function findOwn(
  context: StepContext,
  claim: Claim,
  body: SubmissionBody,
): Promise<Probed<SubmissionRecord>> {
  const { coordinator } = context.adapters;
  const submissions = await coordinator.ownSubmissions(claim.taskId, context.signal);
  const byClaim = submissions.find(({ known }) => known.claim_id === claim.id);
  if (byClaim !== undefined) return { kind: 'found', value: byClaim };

  const seen = await findClaim(context, claim);
  if (seen === null) {
    return {
      kind: 'unknown',
      reason: `the coordinator's list holds no claim ${claim.id} of ours.`,
    };
  }
  if (seen.known.status !== CLAIM_SUBMITTED) return { kind: 'absent' };

  // The claim was used, so one of those that name no claim is the one: the newest of equal content.
  const byContent = submissions.findLast(
    ({ known, raw }) =>
      typeof known.claim_id !== 'string' &&
      identifiesWork(raw) &&
      differingMembers(body, raw).length === 0,
  );
  if (byContent !== undefined) return { kind: 'found', value: byContent };
  return {
    kind: 'unknown',
    reason: `the claim ${claim.id} is "submitted", and none of our ${submissions.length} submissions on the task is the one.`,
  };
}
