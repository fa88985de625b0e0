import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { claimSchema } from '../compiler/values.js';
import { replyWith } from '../test/fakes/fake-coordinator.js';
import {
  HOTKEY,
  makeWork,
  startRound,
  TASK_ID,
  type Round,
  type Work,
} from '../test/support/coordinator-round.js';
import { claimKey, coordinatorClaim } from './coordinator-claim.js';
import type { StepContext } from './step-type.js';

const CLAIM = `POST /api/v1/tasks/${TASK_ID}/claim`;
let round: Round;
let work: Work;
beforeEach(async () => {
  round = await startRound();
  work = await makeWork(round);
});
afterEach(() => round.close());

const claim = (change: Partial<StepContext> = {}) =>
  coordinatorClaim.run(
    { task: work.task, verdict: work.verdict, description: 'tiny' },
    round.context('claim', change),
  );
const later = { firstAttempt: false, attempt: 2 };
const status = (): unknown[] => round.fake.claims.map((record) => record['status']);

describe('coordinator.claim', () => {
  it('claims once, with a key in its description, and keeps the record', async () => {
    const { claim: made } = await claim();
    expect(claimSchema.parse(made)).toMatchObject({
      taskId: TASK_ID,
      hotkey: HOTKEY,
      status: 'active',
    });
    expect(made.description).toBe(`tiny ${claimKey(round.context('claim'))}`);
    expect(made.description).toMatch(/^tiny \[adit [0-9a-f]{16}\]$/);
    expect(Date.parse(made.expiresAt) - Date.parse(made.createdAt)).toBe(2_700_000);
    expect(JSON.parse((await round.adapters.store.read(made.record)).toString())).toEqual(
      round.fake.claims[0],
    );
    expect(round.fake.requests).toEqual(['GET /api/v1/tasks', CLAIM]);
  });

  it('shows the whole disclaimer once per version', async () => {
    const { disclaimer } = await claim();
    expect(disclaimer).toEqual({
      code: 'no_reward_guarantee',
      version: '2026-05-23',
      title: 'No reward guarantee',
      url: 'https://example.org/disclaimer/',
      summary: 'Participation does not guarantee any reward.',
    });
    expect(round.progress.at(-1)).toMatchObject({
      disclaimer: 'No reward guarantee (2026-05-23) https://example.org/disclaimer/',
    });
    expect((await claim(later)).disclaimer).not.toHaveProperty('summary');
  });

  // act -> stored, reply lost -> probe finds it
  it('adopts the claim of a request whose reply was lost', async () => {
    round.fake.failNext(CLAIM, { kind: 'drop', when: 'after' });
    await expect(claim()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    const { claim: adopted } = await claim({
      ...later,
      call: { ...round.context('claim').call, start: 2 },
    });
    expect(adopted.id).toBe(round.fake.claims[0]?.['id']);
    expect(round.fake.count(CLAIM)).toBe(1);
  });

  // act -> never arrived -> probe finds nothing -> act
  it('claims again when the first request never arrived', async () => {
    round.fake.failNext(CLAIM, { kind: 'drop', when: 'before' });
    await expect(claim()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    await claim(later);
    expect(status()).toEqual(['active']);
  });

  it('looks first when an intent is on the disk, also in a first attempt', async () => {
    await claim();
    await claim();
    expect(status()).toEqual(['active']);
    expect(round.fake.count(CLAIM)).toBe(1);
  });

  it('takes neither a foreign claim nor one of another round or step', async () => {
    const { call } = round.context('claim');
    await claim({ call: { ...call, roundId: 'round-0' } });
    await claim({ call: { ...call, path: 'other' } });
    const own = await claim(later);
    expect(new Set(round.fake.claims.map(({ claim_description }) => claim_description)).size).toBe(
      3,
    );
    expect(own.claim.id).toBe(round.fake.claims[2]?.['id']);
  });

  it('keeps the oldest of two own claims, cancels the other and says so', async () => {
    const { claim: first } = await claim();
    await round.adapters.coordinator.claim(
      TASK_ID,
      first.description,
      new AbortController().signal,
    );
    const { claim: kept } = await claim(later);
    expect(kept.id).toBe(first.id);
    expect(status()).toEqual(['active', 'cancelled']);
    expect(round.progress).toContainEqual({
      alarm: `a second claim of this round, ${String(round.fake.claims[1]?.['id'])}, was cancelled`,
    });
  });

  it('settles at one claim when the request of an earlier try arrives after the look', async () => {
    round.fake.failNext(CLAIM, { kind: 'drop', when: 'after' });
    await expect(claim()).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    const late = round.fake.claims.splice(0);
    round.fake.failNext('GET /api/v1/tasks', {
      ...replyWith(200, round.fake.tasks),
      change: () => round.fake.claims.push(...late),
    });
    const { claim: kept } = await claim(later);
    expect(kept.id).toBe(late[0]?.['id']);
    expect(status()).toEqual(['active', 'cancelled']);
    const record = await round.adapters.evidence.readEffect('round-1', 'claim');
    expect(record?.alarms).toEqual([
      `a second claim of this round, ${String(round.fake.claims[1]?.['id'])}, was cancelled`,
    ]);
  });

  it('claims anew when its claim has expired', async () => {
    const { claim: first } = await claim();
    Object.assign(round.fake.claims[0] ?? {}, {
      expires_at: new Date(Date.now() - 1_000).toISOString(),
    });
    const { claim: second } = await claim(later);
    expect(second.id).not.toBe(first.id);
  });

  it('does not claim while it cannot look', async () => {
    round.fake.failNext('GET /api/v1/claims', replyWith(503, 'down'));
    await expect(claim(later)).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    expect(round.fake.count(CLAIM)).toBe(0);
  });

  // act -> 409, and a look finds it
  it('takes a conflict about its own claim for a success', async () => {
    const description = `tiny ${claimKey(round.context('claim'))}`;
    const { known } = await round.adapters.coordinator.claim(
      TASK_ID,
      description,
      new AbortController().signal,
    );
    round.fake.failNext(CLAIM, replyWith(409, { detail: 'you have a claim' }));
    expect((await claim()).claim.id).toBe(known.id);
    expect(status()).toEqual(['active']);
  });

  it('fails with a conflict about nothing of its own', async () => {
    round.fake.failNext(CLAIM, replyWith(409, { detail: 'taken' }));
    await expect(claim()).rejects.toMatchObject({ code: 'COORDINATOR_CONFLICT' });
  });

  it('knows a claim that it made, also when its description was changed', async () => {
    const made = await claim();
    for (const each of round.fake.claims) each['claim_description'] = 'tidied up';
    expect((await claim(later)).claim.id).toBe(made.claim.id);
    expect(status()).toEqual(['active']);
  });

  it('gives up after a few tries against a rate limit', async () => {
    const limit = replyWith(429, { detail: 'slow down' }, { 'Retry-After': '1' });
    round.fake.failNext(CLAIM, limit, limit, limit, limit);
    const { call } = round.context('claim');
    // Starts that were lost to other causes count as none of them.
    for (const start of [7, 8, 9]) {
      await expect(claim({ ...later, call: { ...call, start } })).rejects.toMatchObject({
        code: 'COORDINATOR_RATE_LIMITED',
        retryAfterMs: 1_000,
      });
    }
    await expect(claim({ ...later, call: { ...call, start: 10 } })).rejects.toMatchObject({
      code: 'COORDINATOR_REFUSED',
      message: `${CLAIM} was answered 429: slow down (4 times)`,
    });
  });

  it('asks the operator when stake is lacking, and does not try again', async () => {
    round.fake.failNext(CLAIM, replyWith(403, { detail: { error: 'insufficient_miner_stake' } }));
    await expect(claim()).rejects.toMatchObject({
      code: 'STAKE_INSUFFICIENT',
      message: `The hotkey lacks stake on SN94. ${CLAIM} was answered 403: insufficient_miner_stake`,
    });
  });

  it.each([
    [
      { task_state: 'paused' },
      'TASK_NOT_LIVE',
      'The task "tiny-ternary-frontier" is no longer live: its state is "paused".',
    ],
    [
      { slug: 'gone' },
      'TASK_NOT_FOUND',
      'The task "tiny-ternary-frontier" is no longer on the coordinator.',
    ],
    [
      { id: 'reseeded' },
      'TASK_NOT_FOUND',
      `The task "tiny-ternary-frontier" now has the id reseeded, not ${TASK_ID}: the catalogue was reseeded.`,
    ],
  ])('claims nothing when the task has changed meanwhile: %o', async (change, code, message) => {
    Object.assign(round.fake.tasks[0] ?? {}, change);
    await expect(claim()).rejects.toMatchObject({ code, message });
    expect(round.fake.count('POST')).toBe(0);
  });

  it('claims nothing for a verdict about another task', async () => {
    work = { ...work, verdict: { ...work.verdict, taskId: 'other' } };
    await expect(claim()).rejects.toMatchObject({
      code: 'GATE_NOT_PASSED',
      message: `The verdict is about the task other, not ${TASK_ID}.`,
    });
    expect(round.fake.requests).toEqual([]);
  });
});
