/**
 * Effects against the devnet's coordinator under every fault of protocol section 6: at most one submission per round,
 * at most one active claim at the end, success only if it is stored. Counted by the coordinator. Faults are placed by
 * an event, and each test asserts that its faults fired.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { writeHold, removeHold } from '../../adapters/evidence/effect-hold.js';
import type { Claim } from '../../compiler/values.js';
import type { JsonObject } from '../../core/json.js';
import { startEffectRound, type EffectRound, type RoundEnd } from '../support/effect-round.js';

const CLAIM = 'POST /api/v1/tasks/:id/claim';
const SUBMIT = 'POST /api/v1/submissions';
const CANCEL = 'POST /api/v1/claims/:id/cancel';
const CLAIMS = 'GET /api/v1/claims';
const SUBMISSIONS = 'GET /api/v1/submissions';
const READ_BACK = 'GET /api/v1/submissions/:id';

let round: EffectRound;
afterEach(() => round.close());

/** What holds after every round, whatever went wrong. */
function expectOnce(end: RoundEnd): void {
  const { submissions, active } = round.counted();
  expect(submissions.length).toBeLessThanOrEqual(1);
  expect(active).toBeLessThanOrEqual(1);
  const submission = end.submission;
  if (submission === null || !('value' in submission)) return;
  expect(submissions.map(({ id }) => id)).toEqual([submission.value.id]);
}

const isDone = ({ submission }: RoundEnd): boolean => submission !== null && 'value' in submission;
const codeOf = ({ claim, submission }: RoundEnd): string | null => {
  const ended = submission ?? claim;
  return 'error' in ended ? ended.error.code : null;
};
const statuses = (): unknown[] => round.counted().claims.map(({ status }) => status);

test('the good path asks five times in all, and looks at nothing', async () => {
  round = await startEffectRound();
  const end = await round.play();
  expect(isDone(end)).toBe(true);
  const counted = Object.entries(await round.requests())
    .filter(([route]) => !route.startsWith('POST /api/v1/tasks') || route === CLAIM)
    .map(([route, { requests }]) => [route, requests]);
  expect(Object.fromEntries(counted)).toEqual({
    'GET /api/v1/tasks': 1,
    [CLAIM]: 1,
    [SUBMIT]: 1,
    [READ_BACK]: 1,
  });
  expectOnce(end);
  expect(statuses()).toEqual(['submitted']);
});

describe('a round succeeds with one claim and one submission through', () => {
  test.each<[string, JsonObject[]]>([
    ['a lost reply to the claim', [{ route: CLAIM, kind: 'drop_after' }]],
    ['a lost reply to the submission', [{ route: SUBMIT, kind: 'drop_after' }]],
    ['a claim that never arrived', [{ route: CLAIM, kind: 'drop_before' }]],
    ['a submission that never arrived', [{ route: SUBMIT, kind: 'drop_before' }]],
    ['a claim delayed until after the look', [{ route: CLAIM, kind: 'detach', until: CLAIMS }]],
    [
      'a submission delayed until after the look',
      [{ route: SUBMIT, kind: 'detach', until: CLAIMS }],
    ],
    ['409 for its own claim', [{ route: CLAIM, kind: 'status_after', statusCode: 409 }]],
    ['409 for its own submission', [{ route: SUBMIT, kind: 'status_after', statusCode: 409 }]],
    [
      '500 for a submission that was stored',
      [{ route: SUBMIT, kind: 'status_after', statusCode: 500 }],
    ],
    ['an HTML page for the claim', [{ route: CLAIM, kind: 'html' }]],
    ['an HTML page for the submission', [{ route: SUBMIT, kind: 'html' }]],
    [
      'half of a JSON reply',
      [
        { route: CLAIM, kind: 'truncated_json' },
        { route: SUBMIT, kind: 'truncated_json' },
      ],
    ],
    ['a burst of 503', [{ route: SUBMIT, kind: 'status', statusCode: 503, times: 3 }]],
    [
      '429 with Retry-After',
      [{ route: SUBMIT, kind: 'status', statusCode: 429, retryAfterSeconds: 1, times: 2 }],
    ],
    [
      'a look that fails',
      [
        { route: SUBMIT, kind: 'drop_after' },
        { route: SUBMISSIONS, kind: 'status', times: 2 },
        { route: SUBMISSIONS, kind: 'html' },
        { route: SUBMISSIONS, kind: 'truncated_json' },
        { route: SUBMISSIONS, kind: 'drop_after' },
      ],
    ],
    ['a read-back that fails', [{ route: READ_BACK, kind: 'status', times: 2 }]],
  ])(
    '%s',
    async (_name, faults) => {
      round = await startEffectRound();
      for (const fault of faults) await round.fault(fault);
      const end = await round.play();
      const planned = faults.flatMap(({ kind, times = 1 }) =>
        Array.from({ length: Number(times) }, () => String(kind)),
      );
      expect((await round.fired()).toSorted()).toEqual(planned.toSorted());
      expect(codeOf(end)).toBeNull();
      expectOnce(end);
      expect(statuses()).toEqual(['submitted']);
    },
    120_000,
  );

  test.each([CLAIM, SUBMIT])(
    'ten lost replies in a row after %s',
    async (route) => {
      round = await startEffectRound();
      await round.fault({ route, kind: 'drop_after' });
      const claimed = await round.claim();
      if ('error' in claimed) throw claimed.error;
      if (route === CLAIM) await round.fault({ route: SUBMIT, kind: 'drop_after' });
      await round.fault({ route: SUBMISSIONS, kind: 'drop_after', times: 9 });
      const submission = await round.submit(claimed.value);
      expect(submission).toHaveProperty('value');
      expect(
        (await round.fired()).filter((kind) => kind === 'drop_after').length,
      ).toBeGreaterThanOrEqual(10);
      expect(round.counted().submissions).toHaveLength(1);
      expect(statuses()).toEqual(['submitted']);
      expect((await round.requests())[SUBMIT]?.requests).toBe(1);
    },
    120_000,
  );

  test('lists that lag', async () => {
    round = await startEffectRound({ listLagSeconds: 1 });
    await round.fault({ route: CLAIM, kind: 'drop_after' });
    await round.fault({ route: SUBMIT, kind: 'drop_after' });
    const end = await round.play();
    expect(await round.fired()).toEqual(['drop_after', 'drop_after']);
    expect(codeOf(end)).toBeNull();
    expectOnce(end);
    expect(statuses()).toEqual(['submitted']);
    expect(round.progress.some((status) => 'settling' in status)).toBe(true);
  }, 120_000);
});

describe('a request that arrives after its window', () => {
  test.each([CLAIM, SUBMIT])(
    '%s is refused by its signature, and its repeat stands',
    async (route) => {
      round = await startEffectRound();
      await round.fault({ route, kind: 'detach', until: READ_BACK });
      const end = await round.play();
      expect(await round.fired()).toEqual(['detach']);
      expect(codeOf(end)).toBeNull();
      await expect.poll(async () => (await round.requests())[route]?.statuses['401']).toBe(1);
      expectOnce(end);
      expect(statuses()).toEqual(['submitted']);
    },
    120_000,
  );
});

describe('what is final is final at once', () => {
  test.each<[string, JsonObject, string]>([
    ['403', { route: SUBMIT, statusCode: 403 }, 'COORDINATOR_FORBIDDEN'],
    ['404', { route: SUBMIT, statusCode: 404 }, 'COORDINATOR_NOT_FOUND'],
    ['422', { route: SUBMIT, statusCode: 422 }, 'COORDINATOR_REFUSED'],
    ['401', { route: SUBMIT, statusCode: 401, times: 2 }, 'COORDINATOR_UNAUTHORIZED'],
    ['409 about nothing of ours', { route: SUBMIT, statusCode: 409 }, 'COORDINATOR_CONFLICT'],
    ['403 for the claim', { route: CLAIM, statusCode: 403 }, 'COORDINATOR_FORBIDDEN'],
  ])(
    '%s',
    async (_name, fault, code) => {
      round = await startEffectRound();
      await round.fault({ ...fault, kind: 'status' });
      const end = await round.play();
      expect((await round.fired()).every((kind) => kind === 'status')).toBe(true);
      expect(codeOf(end)).toBe(code);
      const route = String(fault['route']);
      expect((await round.requests())[route]?.requests).toBe(
        code === 'COORDINATOR_UNAUTHORIZED' ? 2 : 1,
      );
      expectOnce(end);
      expect(round.counted()).toMatchObject({ active: 0, submissions: [] });
    },
    120_000,
  );

  test('a hotkey without stake asks a person, once', async () => {
    round = await startEffectRound({ stakeGate: true });
    expect(codeOf(await round.play())).toBe('STAKE_INSUFFICIENT');
    expect((await round.requests())[CLAIM]?.requests).toBe(1);
  });

  test('429 gets four starts', async () => {
    round = await startEffectRound();
    await round.fault({
      route: CLAIM,
      kind: 'status',
      statusCode: 429,
      retryAfterSeconds: 1,
      times: 20,
    });
    expect(codeOf(await round.play())).toBe('COORDINATOR_REFUSED');
    expect((await round.requests())[CLAIM]?.requests).toBe(4);
  }, 120_000);
});

describe('what cannot be known', () => {
  test('a submission of another hotkey on the claim is an alarm, and nothing is sent again', async () => {
    round = await startEffectRound();
    await round.fault({ route: SUBMIT, kind: 'detach' });
    await round.fault({ route: SUBMISSIONS, kind: 'hold' });
    const claimed = await round.claim();
    if ('error' in claimed) throw claimed.error;
    const submitting = round.submit(claimed.value);
    // The look is under way: now somebody else's submission is there, and ours never comes.
    await expect.poll(() => round.held()).toBe(2);
    const body = { claim_id: claimed.value.id, hotkey: 'somebody else' };
    await round.coordinator.admin('POST', '/devnet/foreign-submissions', body);
    await expect
      .poll(() => Date.now() - Date.parse(claimed.value.createdAt))
      .toBeGreaterThan(4_000);
    await round.release();
    const ended = await submitting;
    expect(ended).toMatchObject({
      error: {
        code: 'EFFECT_UNKNOWN',
        message: expect.stringContaining('is of another hotkey, somebody else'),
      },
    });
    expect((await round.effect('submit'))?.alarms).toEqual([
      expect.stringContaining(`names our claim ${claimed.value.id}.`),
    ]);
    expect(await round.fired()).toEqual(['detach', 'hold']);
    expect((await round.requests())[SUBMIT]?.requests).toBe(1);
    expect(await round.giveBack(claimed.value, null)).toMatchObject({
      cancelled: false,
      reason: expect.stringContaining('It is left to expire at'),
    });
    expect(round.counted()).toMatchObject({ submissions: [], active: 1 });
  }, 120_000);

  test('a person who says retry has it looked up first', async () => {
    round = await startEffectRound();
    const claimed = await round.claim();
    if ('error' in claimed) throw claimed.error;
    await round.fault({ route: SUBMIT, kind: 'drop_after' });
    await round.fault({ route: SUBMISSIONS, kind: 'status', statusCode: 403, times: 2 });
    const first = await round.submit(claimed.value);
    expect(first).toMatchObject({
      error: { code: 'EFFECT_UNKNOWN', askUntilMs: Date.parse(claimed.value.expiresAt) - 1_000 },
    });
    const again = await round.submit(claimed.value);
    expect(again).toHaveProperty('value');
    expect((await round.requests())[SUBMIT]?.requests).toBe(1);
    expect(round.counted().submissions).toHaveLength(1);
  }, 120_000);
});

test('a claim that expires between the look and the next try is not submitted on', async () => {
  round = await startEffectRound({ claimLifetimeSeconds: 6 });
  const claimed = await round.claim();
  if ('error' in claimed) throw claimed.error;
  await round.fault({ route: SUBMIT, kind: 'drop_before' });
  await round.fault({ route: CLAIMS, kind: 'hold_reply' });
  const submitting = round.submit(claimed.value);
  await expect.poll(() => round.held()).toBe(1);
  const expiresAt = Date.parse(claimed.value.expiresAt);
  await expect.poll(() => Date.now()).toBeGreaterThan(expiresAt);
  await round.release();
  expect(await submitting).toMatchObject({ error: { code: 'CLAIM_EXPIRED' } });
  expect(await round.fired()).toEqual(['drop_before', 'hold_reply']);
  expect((await round.requests())[SUBMIT]?.requests).toBe(1);
  expect(await round.giveBack(claimed.value, null)).toMatchObject({ cancelled: false });
  expect(round.counted()).toMatchObject({ submissions: [], active: 0 });
}, 120_000);

describe('giving a claim back while its submission is under way', () => {
  async function submitAndLose(): Promise<{ claim: Claim; submitting: Promise<object> }> {
    round = await startEffectRound();
    const claimed = await round.claim();
    if ('error' in claimed) throw claimed.error;
    await round.fault({ route: SUBMIT, kind: 'detach' });
    await round.fault({ route: SUBMISSIONS, kind: 'hold' });
    const submitting = round.submit(claimed.value);
    await expect.poll(() => round.held()).toBe(2);
    return { claim: claimed.value, submitting };
  }

  test('waits until it can no longer arrive', async () => {
    const { claim, submitting } = await submitAndLose();
    expect(await round.giveBack(claim, null)).toMatchObject({ cancelled: true });
    expect(round.progress.some((status) => 'settling' in status)).toBe(true);
    await round.release();
    expect(await submitting).toMatchObject({ error: { code: 'CLAIM_NOT_ACTIVE' } });
    await expect.poll(async () => (await round.requests())[SUBMIT]?.statuses).toEqual({ 401: 1 });
    expect(round.counted().submissions).toEqual([]);
    expect(statuses()).toEqual(['cancelled']);
    expect(await round.fired()).toEqual(['detach', 'hold']);
  }, 120_000);

  test('leaves the claim alone when it arrives meanwhile', async () => {
    const { claim, submitting } = await submitAndLose();
    const givingBack = round.giveBack(claim, null);
    await expect.poll(() => round.progress.some((status) => 'settling' in status)).toBe(true);
    await round.release();
    expect(await givingBack).toMatchObject({
      cancelled: false,
      reason: expect.stringContaining('It was submitted as'),
    });
    expect(await submitting).toHaveProperty('value');
    expect(round.counted().submissions).toHaveLength(1);
    expect(statuses()).toEqual(['submitted']);
    expect(await round.fired()).toEqual(['detach', 'hold']);
  }, 120_000);
});

test('giving a claim back survives lost replies', async () => {
  round = await startEffectRound();
  const claimed = await round.claim();
  if ('error' in claimed) throw claimed.error;
  await round.fault({ route: CANCEL, kind: 'drop_after' });
  expect(await round.giveBack(claimed.value, null)).toEqual({
    cancelled: false,
    reason: 'Its status is "cancelled".',
  });
  expect(await round.fired()).toEqual(['drop_after']);
  expect(statuses()).toEqual(['cancelled']);
}, 120_000);

test('held effects send nothing, looks go on, and a release goes on', async () => {
  round = await startEffectRound();
  const hold = { by: 'ann', reason: 'audit', since: new Date().toISOString() };
  await writeHold(round.stateDir, hold);
  const playing = round.play();
  await expect.poll(() => round.progress.some((status) => status['heldBy'] === 'ann')).toBe(true);
  expect((await round.requests())[CLAIM]).toBeUndefined();
  await removeHold(round.stateDir);
  const end = await playing;
  expect(isDone(end)).toBe(true);
  expectOnce(end);
}, 120_000);

describe('a later run of the round (adit retry)', () => {
  test.each<[string, JsonObject[]]>([
    ['a good one', []],
    [
      'one that lost its submission out of sight',
      [
        { route: SUBMIT, kind: 'drop_after' },
        { route: SUBMISSIONS, kind: 'status', statusCode: 403, times: 2 },
      ],
    ],
    [
      'one that failed for good before it was stored',
      [{ route: SUBMIT, kind: 'status', statusCode: 422 }],
    ],
    [
      'one that failed with its request under way',
      [
        { route: SUBMIT, kind: 'detach', until: CLAIMS },
        { route: SUBMISSIONS, kind: 'status', statusCode: 403, times: 2 },
      ],
    ],
  ])(
    'after %s submits at most once',
    async (_name, faults) => {
      round = await startEffectRound();
      for (const fault of faults) await round.fault(fault);
      const first = await round.play();
      expectOnce(first);
      expect(new Set(await round.fired()).size).toBe(new Set(faults.map(({ kind }) => kind)).size);
      const second = await round.play('run-2');
      expect(codeOf(second)).toBeNull();
      expectOnce(second);
      expect(round.counted().submissions).toHaveLength(1);
    },
    120_000,
  );
});

/** A small generator (mulberry32), so that a failing seed can be played again. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const SEEDS = (process.env['ADIT_FAULT_SEEDS'] ?? '1,2,3').split(',').map(Number);

test.each(SEEDS)(
  'whatever comes together, seed %i',
  async (seed) => {
    round = await startEffectRound({ listLagSeconds: 1 });
    const random = seeded(seed);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const faults = Array.from({ length: 5 }, () => ({
      route: pick([CLAIM, SUBMIT, SUBMIT, CLAIMS, SUBMISSIONS, CANCEL]),
      kind: pick([
        'drop_before',
        'drop_after',
        'status',
        'status_after',
        'html',
        'truncated_json',
        'detach',
      ]),
      statusCode: pick([409, 500, 503]),
      until: pick([CLAIMS, SUBMISSIONS]),
    }));
    for (const fault of faults) await round.fault(fault);
    const end = await round.play();
    expectOnce(end);
    const again = await round.play('run-2');
    expectOnce(again);
    expect((await round.fired()).length).toBeGreaterThan(0);
    await round.release();
    await sleep(0);
    expectOnce(again);
  },
  240_000,
);
