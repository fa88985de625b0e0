import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Claim } from '../compiler/values.js';
import { replyWith } from '../test/fakes/fake-coordinator.js';
import {
  makeClaim,
  makeWork,
  startRound,
  type Round,
  type Work,
} from '../test/support/coordinator-round.js';
import type { Adapters } from './adapters.js';
import { coordinatorCancelClaim } from './coordinator-cancel-claim.js';
import { coordinatorSubmit } from './coordinator-submit.js';

let round: Round;
let claim: Claim;
beforeEach(async () => {
  round = await startRound();
  claim = await makeClaim(round);
});
afterEach(() => round.close());

const cancel = (input: object) => coordinatorCancelClaim.run(input, round.context('cancel'));

describe('coordinator.cancel_claim', () => {
  it('gives an unused claim back', async () => {
    expect(await cancel({ claim })).toEqual({
      cancelled: true,
      reason: 'Nothing was submitted on it.',
    });
    expect(round.fake.claims[0]?.['status']).toBe('cancelled');
  });

  it('does nothing without a claim, or once it was submitted on', async () => {
    expect(await cancel({})).toEqual({
      cancelled: false,
      reason: 'There is no claim to give back.',
    });
    const submission = {
      id: 's',
      taskId: 't',
      claimId: claim.id,
      status: 'x',
      record: claim.record,
    };
    expect(await cancel({ claim, submission })).toEqual({
      cancelled: false,
      reason: 'It was submitted as s.',
    });
    expect(round.fake.count(`POST /api/v1/claims/`)).toBe(0);
  });

  it.each(['submitted', 'expired'])('leaves a claim alone whose status is %s', async (status) => {
    Object.assign(round.fake.claims[0] ?? {}, { status });
    expect(await cancel({ claim })).toEqual({
      cancelled: false,
      reason: `Its status is "${status}".`,
    });
    expect(round.fake.count(`POST /api/v1/claims/`)).toBe(0);
  });

  it('reports a failure and leaves the claim to expire', async () => {
    const fault = replyWith(503, 'down');
    round.fake.failNext('GET /api/v1/claims', fault, fault, fault);
    const { cancelled, reason } = await cancel({ claim });
    expect(cancelled).toBe(false);
    expect(reason).toBe(
      `It is left to expire at ${claim.expiresAt}: GET /api/v1/claims was answered 503: down`,
    );
  });

  it('gives it back although a first request failed', async () => {
    round.fake.failNext('POST /api/v1/claims/', { kind: 'drop', when: 'before' });
    expect(await cancel({ claim })).toMatchObject({ cancelled: true });
  });

  describe('after a submission whose outcome is not known', () => {
    let work: Work;
    beforeEach(async () => {
      work = await makeWork(round);
    });
    const submit = (when: 'before' | 'after') => {
      round.fake.failNext('POST /api/v1/submissions', { kind: 'drop', when });
      return expect(
        coordinatorSubmit.run({ ...work, claim }, round.context('submit')),
      ).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    };
    const slowly = (signatureWindowSeconds: number): Adapters => ({
      ...round.adapters,
      settings: { ...round.settings, signatureWindowSeconds },
    });

    it('finds the submission, and leaves its claim alone', async () => {
      await submit('after');
      expect(await cancel({ claim })).toEqual({
        cancelled: false,
        reason: `It was submitted as ${String(round.fake.submissions[0]?.['id'])}.`,
      });
      expect(round.fake.count('POST /api/v1/claims/')).toBe(0);
    });

    it('waits until the request can no longer arrive, then gives it back', async () => {
      await submit('before');
      await expect(
        coordinatorCancelClaim.run({ claim }, round.context('cancel', { adapters: slowly(300) })),
      ).rejects.toMatchObject({ name: 'NotYet', code: 'EFFECT_SETTLING' });
      expect(round.fake.claims[0]?.['status']).toBe('active');
      expect(await cancel({ claim })).toMatchObject({ cancelled: true });
    });

    it('leaves it to expire where the claim ends before that is known', async () => {
      await submit('before');
      const context = round.context('cancel', { adapters: slowly(86_400) });
      expect(await coordinatorCancelClaim.run({ claim }, context)).toEqual({
        cancelled: false,
        reason: expect.stringMatching(
          /^It is left to expire at .+Z: a submission on it may still arrive until .+Z\.$/,
        ),
      });
    });

    it('leaves it to expire where the step has no time to wait', async () => {
      await submit('before');
      const context = round.context('cancel', {
        adapters: slowly(300),
        deadlineMs: Date.now() + 5_000,
      });
      expect(await coordinatorCancelClaim.run({ claim }, context)).toMatchObject({
        cancelled: false,
        reason: expect.stringContaining('It is left to expire at'),
      });
    });
  });

  it('gives back a claim that the submission is not on', async () => {
    const submission = {
      id: 's',
      taskId: claim.taskId,
      claimId: 'an earlier claim',
      status: 'x',
      record: claim.record,
    };
    expect(await cancel({ claim, submission })).toMatchObject({ cancelled: true });
  });
});
