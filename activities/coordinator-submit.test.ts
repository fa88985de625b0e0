import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeHold } from '../adapters/evidence/effect-hold.js';
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

  it('adopts what lies on its claim, whatever the list says of its task', async () => {
    lose('after');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    const listed = { ...round.fake.submissions[0], task_id: 'tiny-ternary-frontier' };
    round.fake.failNext('GET /api/v1/submissions?', replyWith(200, [listed]));
    for (const each of round.fake.claims) each['status'] = 'active';
    await submit(later);
    expect(round.fake.count(SUBMIT)).toBe(1);
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
    ['by our clock', -60_000],
    ['within the margin', 5_000],
  ])('sends nothing on a claim that expired %s', async (_how, inMs) => {
    claim = { ...claim, expiresAt: new Date(Date.now() + inMs).toISOString() };
    await expect(submit()).rejects.toMatchObject({
      code: 'CLAIM_EXPIRED',
      message: `The claim ${claim.id} ends at ${claim.expiresAt}; its status is "active".`,
      hint: 'Nothing was submitted. Start the run again: it claims anew once everything is ready.',
    });
    expect(round.fake.count(SUBMIT)).toBe(0);
  });

  it('submits nothing on a claim that expired by the coordinator’s word', async () => {
    Object.assign(round.fake.claims[0] ?? {}, { status: 'expired' });
    await expect(submit()).rejects.toMatchObject({
      code: 'CLAIM_EXPIRED',
      message: expect.stringMatching(/ ended at .+; its status is "expired"\.$/),
    });
    expect(round.fake.submissions).toEqual([]);
  });

  // act -> never arrived -> probe: not there, and the claim has run out meanwhile
  it('sends nothing when the claim expires between a look and the next try', async () => {
    lose('before');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    Object.assign(round.fake.claims[0] ?? {}, {
      expires_at: new Date(Date.now() + 5_000).toISOString(),
    });
    await expect(submit(later)).rejects.toMatchObject({ code: 'CLAIM_EXPIRED' });
    expect(round.fake.count(SUBMIT)).toBe(1);
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

  it('lets nobody be asked for longer than the claim lasts', async () => {
    round.fake.failNext(SUBMIT, replyWith(403, { detail: 'a gate' }));
    await expect(submit()).rejects.toMatchObject({
      code: 'COORDINATOR_FORBIDDEN',
      askUntilMs: Date.parse(claim.expiresAt) - 10_000,
    });
  });

  it('waits no longer for a release than the claim lasts, and asks nobody for longer', async () => {
    await writeHold(round.settings.stateDir, { by: 'ann', reason: '', since: 'now' });
    await expect(submit()).rejects.toMatchObject({
      code: 'EFFECTS_HELD',
      askUntilMs: Date.parse(claim.expiresAt) - round.settings.claimMarginSeconds * 1_000,
    });
    claim = { ...claim, expiresAt: new Date(Date.now() + 1_000).toISOString() };
    await expect(submit()).rejects.toMatchObject({ code: 'CLAIM_EXPIRED' });
    expect(round.fake.count(SUBMIT)).toBe(0);
  });

  it('looks for what a redirect says nothing about', async () => {
    round.fake.failNext(SUBMIT, replyWith(303, '', { location: 'https://example.org/' }));
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    await submit(later);
    expect(round.fake.submissions).toHaveLength(1);
    expect(round.fake.count('GET /api/v1/submissions?')).toBe(1);
  });

  it('waits until what it has made can be read back', async () => {
    const READ_BACK = 'GET /api/v1/submissions/';
    round.fake.failNext(READ_BACK, replyWith(404, { detail: 'not found' }));
    await expect(submit()).rejects.toMatchObject({
      code: 'EFFECT_SETTLING',
      message: expect.stringMatching(/^The submission .+ was made, and cannot be read back yet: /),
    });
    const { submission } = await submit(later);
    expect(submission.id).toBe(round.fake.submissions[0]?.['id']);
    expect(round.fake.count(SUBMIT)).toBe(1);
  });

  it.each([
    ['claim_id', 'another-claim'],
    ['miner_hotkey', 'another hotkey'],
  ])('takes a stored submission with another %s for an alarm', async (member, value) => {
    round.fake.failNext('GET /api/v1/submissions/', replyWith(200, {}));
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_REPLY_INVALID' });
    const stored = { ...round.fake.submissions[0], [member]: value };
    round.fake.failNext('GET /api/v1/submissions/', replyWith(200, stored));
    await expect(submit(later)).rejects.toMatchObject({
      code: 'SUBMISSION_DIFFERS',
      message: expect.stringContaining(` with another ${member} than was sent.`),
    });
  });

  it('counts what it sent as settled by the clock of the coordinator where that is behind', async () => {
    round.fake.dateOffsetMs = -50_000;
    lose('before');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    await expect(submit(later)).rejects.toMatchObject({ code: 'EFFECT_SETTLING' });
    round.fake.dateOffsetMs = 50_000;
    await submit(later);
    expect(round.fake.submissions).toHaveLength(1);
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

  it('takes nothing for its own that another hotkey has submitted on its claim', async () => {
    lose('before');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    round.fake.submissions.push({
      id: 'theirs',
      task_id: TASK_ID,
      claim_id: claim.id,
      miner_hotkey: 'another hotkey',
      status: 'pending_verification',
    });
    await expect(submit(later)).rejects.toMatchObject({
      code: 'EFFECT_UNKNOWN',
      message: `Whether it was done before cannot be known: the submission theirs on our claim ${claim.id} is of another hotkey, another hotkey.`,
      askUntilMs: Date.parse(claim.expiresAt) - 10_000,
    });
    expect((await round.adapters.evidence.readEffect('round-1', 'submit'))?.alarms).toEqual([
      `the submission theirs of the hotkey another hotkey names our claim ${claim.id}.`,
    ]);
    expect(round.fake.count(SUBMIT)).toBe(1);
  });

  // claim 1, its reply lost -> claim 2: what was stored on claim 1 is the round's submission
  it('adopts what it had submitted on an earlier claim of the round', async () => {
    lose('after');
    await expect(submit()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    const first = claim;
    claim = await makeClaim(round);
    const { submission } = await submit(later);
    expect(submission.claimId).toBe(first.id);
    expect(round.fake.submissions).toHaveLength(1);
  });

  it('keeps to the limit of submissions a day, and counts a repeat of the same one once', async () => {
    const settings = { ...round.settings, maxSubmissionsPerDay: 1 };
    const adapters = { ...round.adapters, settings };
    lose('before');
    await expect(submit({ adapters })).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    await submit({ adapters, ...later });
    claim = await makeClaim(round);
    const call = { ...round.context('submit').call, roundId: 'round-2', runId: 'round-2' };
    await expect(submit({ adapters, call })).rejects.toMatchObject({
      code: 'SUBMISSION_LIMIT',
      message:
        '1 submissions of the hotkey were made today (UTC); the setting maxSubmissionsPerDay allows 1.',
    });
    expect(round.fake.submissions).toHaveLength(1);
  });

  it('shows an alarm in the audit when what was stored differs', async () => {
    round.fake.failNext(SUBMIT, { kind: 'drop', when: 'after' });
    await expect(submit()).rejects.toThrow();
    Object.assign(round.fake.submissions[0] ?? {}, { summary: 'other' });
    await expect(submit(later)).rejects.toMatchObject({ code: 'SUBMISSION_DIFFERS' });
    expect((await round.adapters.evidence.readEffect('round-1', 'submit'))?.alarms).toEqual([
      expect.stringMatching(/^The coordinator stored the submission .+ with another summary than/),
    ]);
  });

  it('asks no more than the protocol needs', async () => {
    round.fake.requests.length = 0;
    const { submission } = await submit();
    expect(round.fake.requests).toEqual([SUBMIT, `GET /api/v1/submissions/${submission.id}`]);
  });

  it('keeps no header and no key in its audit', async () => {
    await submit();
    const text = JSON.stringify(await round.adapters.evidence.readEffect('round-1', 'submit'));
    const { headers, body } = round.fake.signed.at(-1) ?? { headers: {}, body: '' };
    expect(text).not.toContain(String(headers['x-signature']));
    expect(text).toContain(createHash('sha256').update(body).digest('hex'));
  });
});
