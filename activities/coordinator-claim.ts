import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ClaimRecord } from '../adapters/coordinator/records.js';
import {
  claimSchema,
  passVerdictSchema,
  taskSchema,
  type PassVerdict,
  type Task,
} from '../compiler/values.js';
import { canonicalJson } from '../core/canonical-json.js';
import type { EffectRecord } from '../core/effect-record.js';
import { errorMessage, StepError } from '../core/error.js';
import { isJsonObject, type JsonObject } from '../core/json.js';
import { plainText } from '../core/plain-text.js';
import { CLAIM_SUBMITTED, isActive, submissionsOnClaim, toClaimValue } from './claim-lookup.js';
import {
  COORDINATOR_EFFECT_ERRORS,
  coordinatorSettleRule,
  judgeCoordinatorError,
  rethrowLostReply,
  sha256Of,
  toRetryRule,
} from './coordinator-effect.js';
import { durationSchema } from './duration-input.js';
import { isPossiblyDone } from './effect-settling.js';
import { assertNotHeld, effect, recordAlarm, type Probed } from './effect.js';
import { defineStep, type StepContext } from './step-type.js';

const disclaimerSchema = z.object({
  code: z.string(),
  version: z.string(),
  title: z.string(),
  url: z.string().optional(),
  summary: z.string().optional().describe('Only when this version has not been shown here before.'),
});

export const coordinatorClaim = defineStep({
  name: 'coordinator.claim',
  summary: 'Claims the task for this round, as the last thing before the submission; at most once.',
  input: z.object({
    task: taskSchema.describe('The task to claim.'),
    description: z
      .string()
      .min(1)
      .max(500)
      .describe('Public description of the claim; a short key of the round is added.'),
    verdict: passVerdictSchema.describe(
      'The verdict that the claim is made for: without one there is nothing to submit.',
    ),
    lifetime: durationSchema
      .optional()
      .describe(
        'How long a claim lives, for `adit check`: what lies between it and its submission must fit. 45m when absent; the run itself goes by `expiresAt`.',
      ),
  }),
  output: z.object({
    claim: claimSchema.describe('The active claim; its expiresAt is a deadline.'),
    disclaimer: disclaimerSchema
      .optional()
      .describe('Legal text of the coordinator that must be shown.'),
  }),
  defaults: {
    timeout: '30m',
    heartbeat: '20s',
    retry: { attempts: 8, first: '2s', factor: 2, most: '1m' },
  },
  errors: [
    'GATE_NOT_PASSED',
    'TASK_NOT_FOUND',
    'TASK_NOT_LIVE',
    'CLAIM_NOT_ACTIVE',
    ...COORDINATOR_EFFECT_ERRORS,
  ],
  effect: true,
  submission: { role: 'claim', claim: 'claim', lifetime: '45m', lifetimeInput: 'lifetime' },
  example: `
- try:
    - id: claimed
      uses: coordinator.claim
      with:
        task: \${{ steps.discover.task }}
        description: "tiny ternary frontier"
        verdict: \${{ steps.verdict.verdict }}
    # … coordinator.submit with this claim …
  finally:
    - uses: coordinator.cancel_claim
      with: { claim: "\${{ has(steps.claimed.claim) ? steps.claimed.claim : null }}" }
`,
  run: async ({ task, description, verdict }, context) => {
    const { coordinator, store, wallet } = context.adapters;
    assertVerdictFits(task, verdict);
    const key = claimKey(context);
    const text = `${description} ${key}`;
    const claim = await effect(context, {
      what: 'claim',
      hotkey: await wallet.address(),
      intent: { taskId: task.id, description: text, key },
      sentSha256: sha256Of(canonicalJson({ claim_description: text })),
      settle: coordinatorSettleRule(context),
      probe: (record) => findOwn(context, task, key, record),
      act: async (sending, record) => {
        await assertStillLive(context, task);
        const made = await coordinator
          .claim(task.id, text, context.signal, sending)
          .catch(rethrowLostReply);
        if (!isPossiblyDone(record)) return made;
        // No request of an earlier try should arrive any more; if one did, one of two claims is kept.
        const own = await findOwn(context, task, key, record);
        return own.kind === 'found' ? own.value : made;
      },
      judge: judgeCoordinatorError,
      evidence: ({ known }) => ({ id: known.id }),
    }).catch(async (error: unknown) => {
      throw await toRetryRule(context, error);
    });
    if (!isActive(claim, Date.now()) && claim.known.status !== CLAIM_SUBMITTED) {
      throw new StepError(
        'CLAIM_NOT_ACTIVE',
        `The claim ${claim.known.id} is "${plainText(claim.known.status, 40)}" and ends at ${new Date(claim.known.expires_at).toISOString()}.`,
        { hint: 'Nothing can be submitted on it; start the run again.' },
      );
    }
    const record = await store.putBytes(`${JSON.stringify(claim.raw, null, 2)}\n`);
    const disclaimer = await toDisclaimer(context, claim);
    context.progress({
      claim: claim.known.id,
      expiresAt: new Date(claim.known.expires_at).toISOString(),
      ...(disclaimer === null
        ? {}
        : { disclaimer: `${disclaimer.title} (${disclaimer.version}) ${disclaimer.url ?? ''}` }),
    });
    return {
      claim: toClaimValue(claim, record),
      ...(disclaimer === null ? {} : { disclaimer }),
    };
  },
});

/** What a claim's description ends with, so that it is found again: the round and the step, in short. */
export function claimKey({ call }: Pick<StepContext, 'call'>): string {
  const digest = createHash('sha256').update(`${call.roundId}\n${call.path}`).digest('hex');
  return `[adit ${digest.slice(0, 16)}]`;
}

function assertVerdictFits(task: Task, verdict: PassVerdict): void {
  if (verdict.taskId === task.id) return;
  throw new StepError(
    'GATE_NOT_PASSED',
    `The verdict is about the task ${verdict.taskId}, not ${task.id}.`,
    {
      hint: 'Give the task that the gate judged.',
    },
  );
}

/** Hours have passed since the task was found: it may be paused, closed or reseeded (protocol section 6). */
async function assertStillLive({ adapters, signal }: StepContext, task: Task): Promise<void> {
  const { task: now } = await adapters.coordinator.findTask(task.slug, signal);
  if (now === null || now.known.id !== task.id) {
    throw new StepError(
      'TASK_NOT_FOUND',
      now === null
        ? `The task "${task.slug}" is no longer on the coordinator.`
        : `The task "${task.slug}" now has the id ${now.known.id}, not ${task.id}: the catalogue was reseeded.`,
      { hint: 'Nothing was claimed. A new run reads the task anew.' },
    );
  }
  if (now.known.task_state === 'live' && now.known.is_active) return;
  throw new StepError(
    'TASK_NOT_LIVE',
    `The task "${task.slug}" is no longer live: its state is "${plainText(now.known.task_state, 40)}".`,
    { hint: 'Nothing was claimed. Wait until it is live, then start the run again.' },
  );
}

/** The oldest of our claims with this round's key that can still be, or was, submitted on; others are cancelled. */
async function findOwn(
  context: StepContext,
  task: Task,
  key: string,
  record: EffectRecord,
): Promise<Probed<ClaimRecord>> {
  const now = Date.now();
  const listed = await context.adapters.coordinator.ownClaims(task.id, context.signal);
  const made = knownIds(record);
  // A claim that is known to be this effect's stays its own, whatever became of its description.
  const ours = listed.filter(
    ({ known }) => known.claim_description.endsWith(key) || made.includes(known.id),
  );
  const missing = made.find((id) => !listed.some(({ known }) => known.id === id));
  if (missing !== undefined) {
    return { kind: 'unknown', reason: `the coordinator's list lacks our claim ${missing}.` };
  }
  const submitted = ours.find(({ known }) => known.status === CLAIM_SUBMITTED);
  const active = ours.filter((claim) => isActive(claim, now));
  const kept = submitted ?? active[0];
  if (kept === undefined) {
    return { kind: 'absent', reason: 'no usable claim of this round is listed.' };
  }
  for (const { known } of active) {
    if (known.id !== kept.known.id) await cancelSecond(context, known.id);
  }
  return { kind: 'found', value: kept };
}

/** Claims that were made by this effect, as far as a reply or a look told. */
function knownIds({ tries, probes }: EffectRecord): string[] {
  return [...tries, ...probes].flatMap(({ evidence }) => {
    const id = isJsonObject(evidence ?? null) ? (evidence as JsonObject)['id'] : undefined;
    return typeof id === 'string' ? [id] : [];
  });
}

async function cancelSecond(context: StepContext, id: string): Promise<void> {
  const { coordinator, evidence } = context.adapters;
  const left = async (why: string): Promise<void> =>
    recordAlarm(context, `a second claim of this round, ${id}, is left to expire: ${why}`);
  if (submissionsOnClaim(await evidence.readEffects(context.call.roundId), id).length > 0) {
    return left('it may have been submitted on');
  }
  await assertNotHeld(context);
  try {
    await coordinator.cancelClaim(id, context.signal);
    await recordAlarm(context, `a second claim of this round, ${id}, was cancelled`);
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    await left(errorMessage(error));
  }
}

/** The disclaimer where it must be shown; whole once per version (protocol 2.5). */
async function toDisclaimer(
  { adapters }: StepContext,
  { known }: ClaimRecord,
): Promise<z.output<typeof disclaimerSchema> | null> {
  const served = known.participation_disclaimer;
  if (served === null || served === undefined || !served.must_display) return null;
  const code = plainText(served.code, 80);
  const version = plainText(served.version, 80);
  const head = {
    code,
    version,
    title: plainText(served.title, 200),
    ...(served.url === undefined ? {} : { url: plainText(served.url, 300) }),
  };
  const name = `${code} ${version}`;
  if ((await adapters.evidence.readDisclaimer(name)) !== null) return head;
  await adapters.evidence.writeDisclaimer(name, { ...head, shownAt: new Date().toISOString() });
  return {
    ...head,
    ...(served.summary === undefined ? {} : { summary: plainText(served.summary, 4_000) }),
  };
}
