import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { submissionSchema, type Claim } from '../compiler/values.js';
import { replyWith } from '../test/fakes/fake-coordinator.js';
import {
  COMMIT,
  makeClaim,
  makeWork,
  startRound,
  TASK_ID,
  type Round,
  type Work,
} from '../test/support/coordinator-round.js';
import { coordinatorSubmit } from './coordinator-submit.js';
import type { StepContext } from './step-type.js';

const SUBMIT = 'POST /api/v1/submissions';
let round: Round;
let work: Work;
let claim: Claim;
beforeEach(async () => {
  round = await startRound();
  work = await makeWork(round);
  claim = await makeClaim(round);
});
afterEach(() => round.close());

const submit = (change: Partial<StepContext> = {}) =>
  coordinatorSubmit.run({ ...work, claim }, round.context('submit', change));
const later = { firstAttempt: false, attempt: 2 };
const lose = (when: 'before' | 'after'): void =>
  round.fake.failNext(SUBMIT, { kind: 'drop', when });

describe('coordinator.submit', () => {
  it('sends the judged work and returns what was stored', async () => {
    const { submission } = await submit();
    expect(submissionSchema.parse(submission)).toMatchObject({
      taskId: TASK_ID,
      claimId: claim.id,
      status: 'pending_verification',
    });
    expect(JSON.parse(round.fake.signed.at(-1)?.body ?? '')).toEqual({
      claim_id: claim.id,
      base_ref: COMMIT,
      patch: '--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-a\n+b\n',
      summary: 'Better thresholds.',
      claimed_metrics: { heldout_ppl: 254.69, tiny: 1e-7 },
      artifact_uri: 'https://127.0.0.1/artifact',
      artifact_sha256: work.artifact.file.sha256,
      artifact_size_bytes: 5,
    });
    const record = await round.adapters.store.read(submission.record);
    expect(JSON.parse(record.toString())).toEqual(round.fake.submissions[0]);
  });

  it('sends idea and predecessor of a centerless task', async () => {
    const statement = { summary: ' s ', proposedIdea: ' idea ', implementedSubmissionId: 'abc' };
    work = { ...work, verdict: { ...work.verdict, statement } };
    await submit();
    expect(round.fake.submissions[0]).toMatchObject({
      summary: 's',
      proposed_idea: 'idea',
      implemented_submission_id: 'abc',
    });
  });

  // act -> stored, reply lost -> probe finds it
  it('adopts the submission of a request whose reply was lost', async () => {
    lose('after');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    const { submission } = await submit(later);
    expect(submission.id).toBe(round.fake.submissions[0]?.['id']);
    expect(round.fake.count(SUBMIT)).toBe(1);
  });

  it('adopts it by its content where submissions name no claim', async () => {
    round.fake.hidden.add('claim_id');
    lose('after');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    await submit(later);
    expect(round.fake.submissions).toHaveLength(1);
  });

  // act -> never arrived -> probe finds nothing, claim still active -> act
  it('submits again when the first request never arrived', async () => {
    lose('before');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    await submit(later);
    expect(round.fake.submissions).toHaveLength(1);
  });

  it('does not take an earlier submission of the same work on another claim for its own', async () => {
    round.fake.hidden.add('claim_id');
    await submit();
    claim = await makeClaim(round);
    const { call } = round.context('submit');
    await submit({ ...later, call: { ...call, roundId: 'round-2' } });
    expect(round.fake.submissions).toHaveLength(2);
  });

  it('never submits again when it cannot know', async () => {
    lose('after');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    round.fake.submissions.splice(0);
    await expect(submit(later)).rejects.toMatchObject({
      code: 'EFFECT_UNKNOWN',
      message: `Whether it was done before cannot be known: the claim ${claim.id} is "submitted", and none of our 0 submissions on the task is the one.`,
    });
    round.fake.claims.splice(0);
    await expect(submit(later)).rejects.toMatchObject({
      code: 'EFFECT_UNKNOWN',
      message: expect.stringContaining(
        `the coordinator's list holds no claim ${claim.id} of ours.`,
      ),
    });
    expect(round.fake.count(SUBMIT)).toBe(1);
  });

  // act -> 409, and a look finds it
  it('takes a conflict about its own submission for a success', async () => {
    await submit();
    Object.assign(round.fake.claims[0] ?? {}, { status: 'active' });
    round.fake.failNext(SUBMIT, replyWith(409, { detail: 'duplicate' }));
    const { call } = round.context('submit');
    const { submission } = await submit({ call: { ...call, roundId: 'lost-its-disk' } });
    expect(submission.id).toBe(round.fake.submissions[0]?.['id']);
    expect(round.fake.submissions).toHaveLength(1);
  });

  it.each([
    [
      'by our clock',
      { expires_at: new Date(Date.now() - 60_000).toISOString() },
      / ends at .+; its status is "active"\.$/,
    ],
    [
      'within the margin',
      { expires_at: new Date(Date.now() + 5_000).toISOString() },
      / ends at .+; its status is "active"\.$/,
    ],
    [
      'by the coordinator’s word',
      { status: 'expired' },
      / ended at .+; its status is "expired"\.$/,
    ],
  ])('submits nothing on a claim that expired %s', async (_how, change, message) => {
    Object.assign(round.fake.claims[0] ?? {}, change);
    await expect(submit()).rejects.toMatchObject({
      code: 'CLAIM_EXPIRED',
      message: expect.stringMatching(message),
      hint: 'Nothing was submitted. Start the run again: it claims anew once everything is ready.',
    });
    expect(round.fake.count(SUBMIT)).toBe(0);
  });

  it('names the expired claim behind a refusal of the coordinator', async () => {
    round.fake.failNext(SUBMIT, {
      ...replyWith(400, { detail: 'no' }),
      change: () => Object.assign(round.fake.claims[0] ?? {}, { status: 'expired' }),
    });
    await expect(submit()).rejects.toMatchObject({ code: 'CLAIM_EXPIRED' });
  });

  it('submits nothing on a cancelled claim', async () => {
    await round.adapters.coordinator.cancelClaim(claim.id, new AbortController().signal);
    await expect(submit()).rejects.toMatchObject({
      code: 'CLAIM_NOT_ACTIVE',
      message: `The claim ${claim.id} is "cancelled".`,
    });
  });

  it('shows place and message of a schema mismatch', async () => {
    const detail = [{ loc: ['body', 'proposed_idea'], msg: 'field required', type: 'missing' }];
    round.fake.failNext(SUBMIT, replyWith(422, { detail }));
    await expect(submit()).rejects.toMatchObject({
      code: 'COORDINATOR_REFUSED',
      message: `${SUBMIT} was answered 422: body.proposed_idea: field required`,
    });
  });

  it('takes a stored submission that differs for an alarm', async () => {
    lose('after');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    Object.assign(round.fake.submissions[0] ?? {}, {
      summary: 'other',
      claimed_metrics: { heldout_ppl: 1 },
    });
    await expect(submit(later)).rejects.toMatchObject({
      code: 'SUBMISSION_DIFFERS',
      message: `The coordinator stored the submission ${String(round.fake.submissions[0]?.['id'])} with another summary, claimed_metrics than was sent.`,
    });
  });

  it.each<[string, (given: Work) => Work]>([
    ['task', (given) => ({ ...given, task: { ...given.task, id: 'other' } })],
    [
      'patch',
      (given) => ({
        ...given,
        verdict: { ...given.verdict, patchSha256: given.verdict.artifactSha256 },
      }),
    ],
    ['commit', (given) => ({ ...given, patch: { ...given.patch, commit: 'f'.repeat(40) } })],
    [
      'artifact',
      (given) => ({ ...given, artifact: { ...given.artifact, file: given.patch.file } }),
    ],
    [
      "artifact's address",
      (given) => ({ ...given, artifact: { ...given.artifact, uri: 'https://127.0.0.1/x' } }),
    ],
    ['metric', (given) => ({ ...given, task: { ...given.task, metricName: 'bits' } })],
  ])('submits nothing when the verdict is about another %s', async (what, change) => {
    work = change(work);
    await expect(submit()).rejects.toMatchObject({
      code: 'GATE_NOT_PASSED',
      message: expect.stringContaining(`The verdict is about another ${what}: `),
    });
    expect(round.fake.count(SUBMIT)).toBe(0);
  });
});
