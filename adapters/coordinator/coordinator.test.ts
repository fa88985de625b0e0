import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../core/json.js';
import {
  replyWith,
  startFakeCoordinator,
  type FakeCoordinator,
  type Fault,
} from '../../test/fakes/fake-coordinator.js';
import { createWallet, type Wallet } from '../wallet/wallet.js';
import { createCoordinator, type Coordinator } from './coordinator.js';
import { toClaim } from './records.js';

const fixture = (name: string): string =>
  readFileSync(new URL(`../../test/fixtures/coordinator/${name}`, import.meta.url), 'utf8');
const { key } = JSON.parse(fixture('generated-signing-vectors.json')) as {
  key: { mnemonic: string; ss58_address_42: string };
};
const TASK_ID = '802f6eba-874e-43c4-b097-33a204684bf4';
const task: JsonObject = {
  id: TASK_ID,
  slug: 'tiny-ternary-frontier',
  title: 'Tiny',
  repository: 'https://example.org/tiny.git',
  base_ref: 'production',
  setup_command: null,
  benchmark_command: 'python3 benchmark.py',
  allowed_patch_paths: ['train.py'],
  metric_name: 'heldout_ppl',
  metric_direction: 'minimize',
  time_budget_seconds: 1800,
  task_state: 'live',
  is_active: true,
  unknown_member: [1],
};

let folder: string;
let wallet: Wallet;
let fake: FakeCoordinator;
let coordinator: Coordinator;
const { signal } = new AbortController();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-coordinator-'));
  const hotkeyFile = path.join(folder, 'hotkey');
  await writeFile(
    hotkeyFile,
    JSON.stringify({ ss58Address: key.ss58_address_42, secretPhrase: key.mnemonic }),
  );
  wallet = createWallet({ hotkeyFile, hotkeyPasswordFile: null });
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  fake = await startFakeCoordinator();
  fake.tasks.push(task);
  coordinator = createCoordinator({ coordinatorUrl: `${fake.url}/` }, wallet, { timeoutMs: 5_000 });
});
afterEach(() => fake.close());

const submission = (claimId: string) => ({
  claim_id: claimId,
  base_ref: '0123456789abcdef0123456789abcdef01234567',
  patch: '--- a/é\n+++ b/é\n',
  summary: 'Größe 😀',
  claimed_metrics: { heldout_ppl: 254.69, tiny: 1e-7, whole: 3 },
});

describe('reading', () => {
  it('finds a task by its slug without case, and keeps members that it does not know', async () => {
    const { task: found } = await coordinator.findTask('Tiny-Ternary-FRONTIER', signal);
    expect(found?.known).toMatchObject({
      id: TASK_ID,
      competition_mode: 'standard',
      ranking_mode: 'scalar',
      max_patch_bytes: 262_144,
      setup_command: undefined,
    });
    expect(found?.raw).toEqual(task);
  });

  it('lists the live slugs for a task that is not there', async () => {
    fake.tasks.push({ ...task, slug: 'paused', task_state: 'paused' }, { slug: 7 });
    expect(await coordinator.findTask('nowhere', signal)).toEqual({
      task: null,
      liveSlugs: ['tiny-ternary-frontier'],
    });
  });

  it('names the member of a task that cannot be used', async () => {
    fake.tasks[0] = { ...task, metric_direction: 'sideways' };
    await expect(coordinator.findTask('tiny-ternary-frontier', signal)).rejects.toMatchObject({
      code: 'COORDINATOR_REPLY_INVALID',
      message: expect.stringContaining('a task whose metric_direction cannot be used'),
    });
  });

  it('refuses a metric whose name is blank', async () => {
    fake.tasks[0] = { ...task, metric_name: '  ' };
    await expect(coordinator.findTask('tiny-ternary-frontier', signal)).rejects.toMatchObject({
      code: 'COORDINATOR_REPLY_INVALID',
      message: expect.stringContaining('a task whose metric_name cannot be used'),
    });
  });

  it('reads the stored claim of the live service', () => {
    const [claim] = JSON.parse(fixture('claims.partial.json')) as [JsonObject];
    expect(toClaim(claim)).toMatchObject({
      known: {
        id: 'd0de5770-fa6c-42bf-87f9-3259d149aacc',
        status: 'submitted',
        expires_at: Date.UTC(2026, 5, 24, 20, 19, 3, 572),
        participation_disclaimer: { version: '2026-05-23', must_display: true },
      },
      raw: claim,
    });
  });

  it('takes a time without a zone as UTC', () => {
    const [claim] = JSON.parse(fixture('claims.partial.json')) as [JsonObject];
    expect(toClaim({ ...claim, expires_at: '2026-06-24T20:19:03.572854' })).toMatchObject({
      known: { expires_at: Date.UTC(2026, 5, 24, 20, 19, 3, 572) },
    });
  });

  it('sends public requests unsigned and asks by task', async () => {
    const foreign = {
      miner_hotkey: '5CwXCAaQNnwTspGiFVUh8CaiakQx9QM1j2zASoodcqTWbSC6',
      task_id: TASK_ID,
    };
    fake.claims.push(foreign);
    fake.submissions.push(foreign);
    expect(await coordinator.ownClaims(TASK_ID, signal)).toEqual([]);
    expect(await coordinator.submissionsOn(TASK_ID, [], signal)).toEqual({ own: [], foreign: [] });
    expect(fake.requests).toEqual([
      `GET /api/v1/claims?task_id=${TASK_ID}`,
      `GET /api/v1/submissions?task_id=${TASK_ID}`,
    ]);
    expect(fake.signed).toEqual([]);
  });

  it('leaves out what a coordinator lists of other tasks', async () => {
    await coordinator.claim(TASK_ID, 'x', signal);
    const other = { ...fake.claims[0], task_id: 'other' };
    fake.failNext('GET /api/v1/claims', replyWith(200, [other]));
    expect(await coordinator.ownClaims(TASK_ID, signal)).toEqual([]);
  });

  it('does not take a list for complete when one of it cannot be attributed', async () => {
    fake.claims.push({ id: 'x', task_id: TASK_ID });
    await expect(coordinator.ownClaims(TASK_ID, signal)).rejects.toMatchObject({
      code: 'COORDINATOR_REPLY_INVALID',
      message: expect.stringContaining('a claim whose miner_hotkey cannot be used'),
    });
  });

  it('reads the onboarding page by its own path only when that is a plain path', async () => {
    fake.pages.set(TASK_ID, '# page');
    const standard = `/api/v1/tasks/${TASK_ID}/onboard.md`;
    for (const onboardPath of [
      undefined,
      standard,
      '//evil.example/x',
      '/a/../b',
      'https://evil.example/',
      '/a?b',
    ]) {
      expect((await coordinator.onboarding({ id: TASK_ID, onboardPath }, signal)).toString()).toBe(
        '# page',
      );
    }
    expect(fake.count(`GET ${standard}`)).toBe(6);
  });

  it('lets no id lead to another path', async () => {
    await expect(coordinator.submission('../tasks', signal)).rejects.toMatchObject({
      code: 'STEP_INPUT_INVALID',
      message: '"../tasks" is no id of the coordinator.',
    });
    expect(fake.requests).toEqual([]);
  });

  it('tells how far the coordinator’s clock is ahead', async () => {
    fake.dateOffsetMs = 100_000;
    const { clockOffsetMs } = await coordinator.reach(signal);
    expect(Math.abs((clockOffsetMs ?? 0) - 100_000)).toBeLessThan(2_000);
  });
});

describe('signed requests', () => {
  it('claim, submit and cancel verify over the raw bytes that were sent', async () => {
    const claim = await coordinator.claim(TASK_ID, 'run 1 ✓', signal);
    const stored = await coordinator.submit(submission(claim.known.id), signal);
    expect(stored.known).toMatchObject({
      claim_id: claim.known.id,
      status: 'pending_verification',
    });
    const second = await coordinator.claim(TASK_ID, 'run 2', signal);
    await coordinator.cancelClaim(second.known.id, signal);
    expect(fake.claims.map(({ status }) => status)).toEqual(['submitted', 'cancelled']);
    expect(fake.signed[0]?.body).toBe('{"claim_description":"run 1 \\u2713"}');
    expect(fake.signed[3]).toMatchObject({
      body: '',
      headers: { 'x-hotkey': key.ss58_address_42 },
    });
    expect(fake.signed[3]?.headers['content-type']).toBeUndefined();
    expect((await coordinator.submission(stored.known.id, signal)).raw).toEqual(stored.raw);
  });

  it('resigns once after a 401', async () => {
    fake.failNext('POST', replyWith(401, { detail: 'stale' }));
    await coordinator.claim(TASK_ID, 'x', signal);
    expect(fake.count('POST')).toBe(2);
    expect(fake.claims).toHaveLength(1);
  });

  it('stops after a second 401', async () => {
    fake.failNext(
      'POST',
      replyWith(401, { detail: 'bad' }),
      replyWith(401, { detail: 'bad signature' }),
    );
    await expect(coordinator.claim(TASK_ID, 'x', signal)).rejects.toMatchObject({
      code: 'COORDINATOR_UNAUTHORIZED',
      message: `The coordinator refuses the signature. POST /api/v1/tasks/${TASK_ID}/claim was answered 401: bad signature`,
    });
    expect(fake.count('POST')).toBe(2);
  });

  it('blames the clock when it is to blame', async () => {
    fake.dateOffsetMs = 400_000;
    await expect(coordinator.claim(TASK_ID, 'x', signal)).rejects.toMatchObject({
      code: 'CLOCK_SKEWED',
      message: expect.stringMatching(
        /was answered 401, and our clock is (399|40[01]) s behind the coordinator's\./,
      ),
    });
  });
});

describe('the clock and the gate', () => {
  it('signs nothing with a clock that an earlier reply has shown to be wrong', async () => {
    fake.dateOffsetMs = -400_000;
    await coordinator.findTask('tiny-ternary-frontier', signal);
    const times: number[] = [];
    const sending = {
      begin: async (atMs: number) => void times.push(atMs),
      neverSent: () => undefined,
    };
    await expect(coordinator.claim(TASK_ID, 'x', signal, sending)).rejects.toMatchObject({
      code: 'CLOCK_SKEWED',
      message: expect.stringMatching(
        /^POST \/api\/v1\/tasks\/.+\/claim was not sent, and our clock is (399|40[01]) s ahead of the coordinator's\.$/,
      ),
    });
    expect(fake.signed).toEqual([]);
    expect(times).toEqual([]);
  });

  it('does not blame the clock for the age of a reply that a cache kept', async () => {
    const dated = { date: new Date(Date.now() - 90_000).toUTCString(), age: '90' };
    fake.failNext('GET /api/v1/tasks', replyWith(200, [], dated));
    await coordinator.findTask('tiny-ternary-frontier', signal);
    await coordinator.claim(TASK_ID, 'x', signal);
    expect(fake.claims).toHaveLength(1);
  });

  it('tells the time of the signature before the request is sent', async () => {
    const seen: [number, number][] = [];
    const begin = async (atMs: number): Promise<void> => void seen.push([atMs, fake.signed.length]);
    await coordinator.claim(TASK_ID, 'x', signal, { begin, neverSent: () => undefined });
    const timestamp = Number(fake.signed[0]?.headers['x-timestamp']);
    expect(seen).toEqual([[expect.any(Number), 0]]);
    expect(Math.floor((seen[0]?.[0] ?? 0) / 1_000)).toBe(timestamp);
  });

  it('tells that a request never left', async () => {
    await fake.close();
    let left = true;
    const sending = { begin: async () => undefined, neverSent: () => void (left = false) };
    await expect(coordinator.claim(TASK_ID, 'x', signal, sending)).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
    });
    expect(left).toBe(false);
  });

  it('makes no storm of a hundred callers while the coordinator is down', async () => {
    const down = Array.from({ length: 200 }, () => replyWith(503, 'down'));
    fake.failNext('GET', ...down);
    const calls = Array.from({ length: 100 }, () => coordinator.reach(signal));
    const results = await Promise.allSettled(calls);
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
    expect(fake.requests.length).toBeLessThanOrEqual(8 + 5);
  });

  it('waits as long as a fault asks for', async () => {
    fake.failNext('GET', replyWith(503, 'down', { 'Retry-After': '60' }));
    await expect(coordinator.reach(signal)).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
      retryAfterMs: 60_000,
    });
    await expect(coordinator.reach(signal)).rejects.toMatchObject({
      message: expect.stringContaining('The coordinator is not asked before'),
    });
    expect(fake.requests).toHaveLength(1);
  });

  it('takes a list of which it is only one page for no list', async () => {
    fake.failNext(
      'GET /api/v1/claims',
      replyWith(200, [], { Link: '</api/v1/claims?page=2>; rel="next"' }),
    );
    await expect(coordinator.ownClaims(TASK_ID, signal)).rejects.toMatchObject({
      code: 'COORDINATOR_REPLY_INVALID',
    });
  });
});

describe('refusals (protocol section 6)', () => {
  const said = `POST /api/v1/tasks/${TASK_ID}/claim was answered`;
  it.each<[string, Fault, object]>([
    [
      '403',
      replyWith(403, { detail: 'not yours' }),
      { code: 'COORDINATOR_FORBIDDEN', message: `${said} 403: not yours` },
    ],
    [
      'lack of stake, whatever the status',
      replyWith(400, { detail: { error: 'insufficient_miner_stake', need: 5 } }),
      {
        code: 'STAKE_INSUFFICIENT',
        message: `The hotkey lacks stake on SN94. ${said} 400: insufficient_miner_stake`,
      },
    ],
    [
      '404',
      replyWith(404, { detail: 'Not Found' }),
      { code: 'COORDINATOR_NOT_FOUND', message: `${said} 404: Not Found` },
    ],
    [
      '409',
      replyWith(409, { detail: 'exists' }),
      { code: 'COORDINATOR_CONFLICT', message: `${said} 409: exists` },
    ],
    [
      'a message about a duplicate',
      replyWith(400, { detail: 'Duplicate submission' }),
      { code: 'COORDINATOR_CONFLICT', message: `${said} 400: Duplicate submission` },
    ],
    [
      '422',
      replyWith(422, {
        detail: [{ loc: ['body', 'claimed_metrics', 0], msg: 'field required', type: 'missing' }],
      }),
      {
        code: 'COORDINATOR_REFUSED',
        message: `${said} 422: body.claimed_metrics.0: field required`,
      },
    ],
    [
      '429 with seconds',
      replyWith(429, { detail: 'slow down' }, { 'Retry-After': '60' }),
      { code: 'COORDINATOR_RATE_LIMITED', message: `${said} 429: slow down`, retryAfterMs: 60_000 },
    ],
    [
      '429 without a time',
      replyWith(429, ''),
      { code: 'COORDINATOR_RATE_LIMITED', message: `${said} 429.`, retryAfterMs: 120_000 },
    ],
    [
      '5xx with a page',
      replyWith(503, '<html>down</html>', { 'Content-Type': 'text/html' }),
      { code: 'COORDINATOR_UNAVAILABLE', message: `${said} 503: an HTML page` },
    ],
    [
      'text with terminal escapes',
      replyWith(400, 'no\u001b[2J\nway'),
      { code: 'COORDINATOR_REFUSED', message: `${said} 400: no [2J way` },
    ],
    [
      'HTML with status 200',
      replyWith(200, '<!DOCTYPE html><p>Sign in', { 'Content-Type': 'text/html' }),
      {
        code: 'COORDINATOR_REPLY_INVALID',
        message: `${said} 200 with an HTML page; it begins "<!DOCTYPE html><p>Sign in".`,
      },
    ],
    [
      'half of a JSON text',
      replyWith(200, '{"id": "a'),
      {
        code: 'COORDINATOR_REPLY_INVALID',
        message: `${said} 200 with 9 bytes that are no whole JSON; it begins "{"id": "a".`,
      },
    ],
    [
      'JSON that is nested too deeply to be handled',
      replyWith(200, `{"id":${'['.repeat(50_000)}${']'.repeat(50_000)}}`),
      {
        code: 'COORDINATOR_REPLY_INVALID',
        message: expect.stringContaining('JSON that is nested too deeply'),
      },
    ],
    [
      'such a refusal',
      replyWith(400, `{"detail":{"x":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`),
      { code: 'COORDINATOR_REFUSED' },
    ],
    [
      'a list for an object',
      replyWith(200, '[]'),
      { message: `${said} 200 with JSON that is not an object; it begins "[]".` },
    ],
    [
      'a redirect',
      replyWith(307, '', { Location: 'https://elsewhere.example/' }),
      {
        code: 'COORDINATOR_REDIRECTED',
        message: expect.stringContaining('a redirect to https://elsewhere.example/'),
      },
    ],
    ['a lost connection', { kind: 'drop', when: 'after' }, { code: 'COORDINATOR_UNAVAILABLE' }],
    ['a truncated reply', { kind: 'truncate' }, { code: 'COORDINATOR_UNAVAILABLE' }],
    [
      'a body of 200 MB',
      { kind: 'huge' },
      {
        code: 'COORDINATOR_REPLY_TOO_LARGE',
        message: expect.stringContaining('at most 4194304 bytes are read'),
      },
    ],
  ])('%s', async (_name, fault, expected) => {
    fake.failNext('POST', fault);
    await expect(coordinator.claim(TASK_ID, 'x', signal)).rejects.toMatchObject(expected);
    expect(fake.count('POST')).toBe(1);
  });

  it('reads Retry-After as a date', async () => {
    const at = new Date(Date.now() + 30_000).toUTCString();
    fake.failNext('GET', replyWith(429, '', { 'Retry-After': at }));
    const error: unknown = await coordinator.reach(signal).catch((caught: unknown) => caught);
    const { retryAfterMs } = error as { retryAfterMs: number };
    expect(retryAfterMs).toBeGreaterThan(20_000);
    expect(retryAfterMs).toBeLessThanOrEqual(30_000);
  });

  it('a list of 200 MB', async () => {
    fake.failNext('GET', { kind: 'huge' });
    await expect(coordinator.findTask('x', signal)).rejects.toMatchObject({
      code: 'COORDINATOR_REPLY_TOO_LARGE',
      message: `GET /api/v1/tasks: ${fake.url}/api/v1/tasks answered with more bytes; at most 33554432 bytes are read.`,
    });
  });

  it('a coordinator that is slow', async () => {
    fake.failNext('GET', { kind: 'silent' });
    const hasty = createCoordinator({ coordinatorUrl: fake.url }, wallet, { timeoutMs: 200 });
    await expect(hasty.reach(signal)).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
      message: `GET /api/v1/tasks: ${fake.url}/api/v1/tasks did not answer within 0.2 s.`,
    });
  });

  it('a coordinator that is down', async () => {
    await fake.close();
    await expect(coordinator.reach(signal)).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
      message: `GET /api/v1/tasks: ${fake.url}/api/v1/tasks cannot be reached: the connection is refused (ECONNREFUSED).`,
    });
  });

  it.each([
    [null, 'SETTING_MISSING', 'No coordinator is set.'],
    [
      'http://example.org',
      'SETTING_INVALID',
      'GET /api/v1/tasks: http://example.org is plain http, which is allowed to loopback only.',
    ],
    [
      'https://example.org/?a=b',
      'SETTING_INVALID',
      "The coordinator's address https://example.org/ has a query.",
    ],
  ])('an address that cannot be used: %s', async (coordinatorUrl, code, message) => {
    await expect(createCoordinator({ coordinatorUrl }, wallet).reach(signal)).rejects.toMatchObject(
      { code, message },
    );
  });

  it('rethrows the reason of an aborted signal', async () => {
    const controller = new AbortController();
    fake.failNext('GET', { kind: 'silent' });
    const request = coordinator.reach(controller.signal);
    controller.abort(new Error('cancelled'));
    await expect(request).rejects.toThrow('cancelled');
  });
});
