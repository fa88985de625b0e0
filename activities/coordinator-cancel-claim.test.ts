import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Claim } from '../compiler/values.js';
import { replyWith } from '../test/fakes/fake-coordinator.js';
import { makeClaim, startRound, type Round } from '../test/support/coordinator-round.js';
import { coordinatorCancelClaim } from './coordinator-cancel-claim.js';

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
});
