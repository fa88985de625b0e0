import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cryptoWaitReady } from '@polkadot/util-crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSigner, get, type Reply, type Signer } from '../testing/network-client.js';
import { runCoordinator, type RunningCoordinator } from '../testing/running-coordinator.js';

let coordinator: RunningCoordinator;
let miner: Signer;
let task: string;

beforeAll(async () => {
  await cryptoWaitReady();
});
beforeEach(async () => {
  coordinator = await runCoordinator();
  miner = createSigner();
  task = await coordinator.addTask({});
});
afterEach(async () => {
  await coordinator.close();
});

const COMMIT = '0123456789abcdef0123456789abcdef01234567';

async function claim(by: Signer = miner, on: string = task): Promise<Reply> {
  return by.call(coordinator.url, 'POST', `/api/v1/tasks/${on}/claim`, {
    claim_description: 'a test',
  });
}

async function submit(fields: Record<string, unknown>, by: Signer = miner): Promise<Reply> {
  return by.call(coordinator.url, 'POST', '/api/v1/submissions', {
    base_ref: COMMIT,
    patch: 'diff --git a/pack/train.py b/pack/train.py\n',
    summary: 'a test',
    claimed_metrics: { heldout_ppl: 8.25 },
    ...fields,
  });
}

async function claimAndSubmit(
  fields: Record<string, unknown> = {},
  by: Signer = miner,
  on = task,
): Promise<Reply> {
  return submit({ claim_id: (await claim(by, on)).json['id'], ...fields }, by);
}

async function validator(): Promise<Signer> {
  const signer = createSigner();
  await coordinator.admin('POST', '/devnet/validators', { hotkey: signer.address });
  return signer;
}

const outcome = ({ status, json }: Reply): [number, unknown] => [status, json['detail']];

describe('signatures', () => {
  it('are refused when they are missing, stale, early, of another key or of another body', async () => {
    const path = `/api/v1/tasks/${task}/claim`;
    const body = { claim_description: 'a test' };
    const unsigned = await fetch(`${coordinator.url}${path}`, { method: 'POST' });
    expect([unsigned.status, await unsigned.json()]).toMatchObject([
      401,
      { detail: expect.stringContaining('X-Hotkey') },
    ]);
    const seconds = Math.floor(Date.now() / 1_000);
    for (const timestamp of [seconds - 302, seconds + 302]) {
      const reply = await miner.call(coordinator.url, 'POST', path, body, { timestamp });
      expect(outcome(reply)).toEqual([401, 'request timestamp is more than 300 seconds away']);
    }
    const changed = await miner.call(coordinator.url, 'POST', path, body, {
      sentText: '{"claim_description":"other"}',
    });
    expect(outcome(changed)).toEqual([401, 'invalid signature']);
    expect((await get(coordinator.url, '/api/v1/claims')).list).toEqual([]);
  });

  it('hold for a body in another order and spacing, unless raw bytes are asked for', async () => {
    const path = `/api/v1/tasks/${task}/claim`;
    const body = { claim_description: 'a test', base_submission_id: null };
    const sentText = '{ "claim_description": "a test",\n "base_submission_id": null }';
    expect((await miner.call(coordinator.url, 'POST', path, body, { sentText })).status).toBe(200);
    await coordinator.set({ signatureMode: 'raw_bytes' });
    expect((await miner.call(coordinator.url, 'POST', path, body, { sentText })).status).toBe(401);
    expect((await miner.call(coordinator.url, 'POST', path, body)).status).toBe(200);
  });

  it('may be repeated, unless the setting refuses that', async () => {
    await coordinator.set({ refuseRepeatedSignature: true });
    const { url, request } = signedClaim();
    expect((await fetch(url, request)).status).toBe(200);
    const again = await fetch(url, request);
    expect([again.status, await again.json()]).toMatchObject([
      401,
      { detail: 'signature was used before' },
    ]);
  });

  function signedClaim(): { url: string; request: RequestInit } {
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const path = `/api/v1/tasks/${task}/claim`;
    const body = '{"claim_description":"x"}';
    const bodyHash = createHash('sha256').update(body).digest('hex');
    const text = ['BT-AUTH-V1', 'POST', path, '', timestamp, bodyHash].join('\n');
    return {
      url: `${coordinator.url}${path}`,
      request: {
        method: 'POST',
        body,
        headers: {
          'content-type': 'application/json',
          'x-hotkey': miner.address,
          'x-timestamp': timestamp,
          'x-signature': miner.sign(Buffer.from(text)),
        },
      },
    };
  }
});

describe('tasks', () => {
  it('do not show their validator environment, but jobs do', async () => {
    const tasks = await get(coordinator.url, '/api/v1/tasks');
    expect(tasks.text).not.toContain('SECRET_SHARD');
    await claimAndSubmit();
    const { json, text } = await (
      await validator()
    ).call(coordinator.url, 'POST', '/api/v1/validator/jobs/claim');
    expect(json['replay_spec']).toMatchObject({
      validator_benchmark_env: { SECRET_SHARD: 'hidden' },
      base_commit_sha: COMMIT,
      benchmark_command: 'python3 pack/benchmark.py',
    });
    expect(text.match(/SECRET_SHARD/g)).toHaveLength(1);
  });

  it('have an onboarding page worded as the stored pages are', async () => {
    const { text, headers } = await get(coordinator.url, `/api/v1/tasks/${task}/onboard.md`);
    expect(headers.get('content-type')).toContain('text/markdown');
    const stored = readFileSync(
      new URL(
        '../../test/fixtures/coordinator/onboard-qwen3-27b-binary-frontier.partial.md',
        import.meta.url,
      ),
      'utf8',
    );
    const fixed = (page: string): string[] =>
      page
        .split('\n')
        .filter((line) => line.startsWith('## ') || /^(Get|Treat|The validator|Build) /.test(line));
    expect(fixed(text).slice(0, fixed(stored).length)).toEqual(fixed(stored));
    const labels = (page: string): string[] =>
      [...page.matchAll(/^- ([A-Z][\w ]*): /gm)]
        .map(([, label]) => label ?? '')
        .filter((label) => !/model|Reference/i.test(label));
    expect(labels(text)).toEqual(labels(stored));
  });

  it('that are paused or closed take no claims, and a closed one stays closed', async () => {
    expect((await coordinator.admin('POST', `/api/v1/tasks/${task}/pause`)).json).toMatchObject({
      task_state: 'paused',
      is_active: false,
    });
    expect(outcome(await claim())).toEqual([409, 'task is paused']);
    await coordinator.admin('POST', `/api/v1/tasks/${task}/resume`);
    expect((await claim()).status).toBe(200);
    await coordinator.admin('POST', `/api/v1/tasks/${task}/close`);
    expect(outcome(await coordinator.admin('POST', `/api/v1/tasks/${task}/resume`))).toEqual([
      409,
      'task is closed',
    ]);
  });

  it('are created by the operator alone, and say what is missing as FastAPI does', async () => {
    const refused = await fetch(`${coordinator.url}/api/v1/tasks`, { method: 'POST' });
    expect(refused.status).toBe(401);
    const { status, json } = await coordinator.admin('POST', '/api/v1/tasks', { slug: 'x' });
    expect(status).toBe(422);
    expect(json['detail']).toContainEqual(
      expect.objectContaining({ loc: ['body', 'title'], msg: 'Field required', type: 'missing' }),
    );
  });
});

describe('claims', () => {
  it('live 45 minutes, with a disclaimer and times in microseconds', async () => {
    const { json } = await claim();
    expect(json).toMatchObject({
      status: 'active',
      miner_hotkey: miner.address,
      participation_disclaimer: { code: 'no_reward_guarantee', must_display: true },
      x_devnet_unknown: expect.any(String),
    });
    const created = String(json['created_at']);
    expect(created).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(Date.parse(String(json['expires_at'])) - Date.parse(created)).toBe(2_700_000);
  });

  it('are cancelled by their owner only, and only while active', async () => {
    const path = `/api/v1/claims/${String((await claim()).json['id'])}/cancel`;
    expect(outcome(await createSigner().call(coordinator.url, 'POST', path))).toEqual([
      403,
      'claim belongs to another hotkey',
    ]);
    expect((await miner.call(coordinator.url, 'POST', path)).json).toMatchObject({
      status: 'cancelled',
    });
    expect(outcome(await miner.call(coordinator.url, 'POST', path))).toEqual([
      409,
      'claim is cancelled',
    ]);
  });

  it('may be several at a time, unless the setting refuses that', async () => {
    expect([(await claim()).status, (await claim()).status]).toEqual([200, 200]);
    await coordinator.set({ secondActiveClaim: 'refused' });
    expect(outcome(await claim())).toEqual([
      409,
      'this hotkey already has an active claim on the task',
    ]);
    expect((await claim(createSigner())).status).toBe(200);
  });

  it('need stake when the gate is on', async () => {
    await coordinator.set({ stakeGate: true });
    const { status, json } = await claim();
    expect([status, json['detail']]).toMatchObject([403, { error: 'insufficient_miner_stake' }]);
    await coordinator.set({ stakedHotkeys: [miner.address] });
    expect((await claim()).status).toBe(200);
  });

  it('are limited in number when a rate is set', async () => {
    await coordinator.set({
      rateLimit: { claims: 1, submissions: 1, windowSeconds: 3600, retryAfterSeconds: 60 },
    });
    await claim();
    const limited = await claim();
    expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '60']);
    coordinator.state.clock.advance(3601);
    expect((await claim()).status).toBe(200);
  });

  it('take a work item and give it back when they expire', async () => {
    const item = await coordinator.admin('POST', '/devnet/work-items', {
      task_id: task,
      title: 'try x',
      priority: 2,
    });
    const path = `/api/v1/work-items/${String(item.json['id'])}/claim`;
    expect((await miner.call(coordinator.url, 'POST', path, {})).json).toMatchObject({
      claim_description: 'try x',
    });
    expect(outcome(await createSigner().call(coordinator.url, 'POST', path, {}))).toEqual([
      409,
      'work item is claimed',
    ]);
    coordinator.state.clock.advance(2_701);
    expect((await get(coordinator.url, '/api/v1/work-items')).list[0]).toMatchObject({
      status: 'open',
      claim_id: null,
    });
    expect((await get(coordinator.url, '/api/v1/claims?status=expired')).list).toHaveLength(1);
    const again = createSigner();
    const second = await again.call(coordinator.url, 'POST', path, {});
    await submit({ claim_id: second.json['id'] }, again);
    expect((await get(coordinator.url, '/api/v1/work-items')).list[0]).toMatchObject({
      status: 'completed',
    });
  });
});

describe('a claim and its work item', () => {
  it('expire together or not at all', async () => {
    const item = await coordinator.admin('POST', '/devnet/work-items', {
      task_id: task,
      title: 'try x',
    });
    const path = `/api/v1/work-items/${String(item.json['id'])}/claim`;
    await miner.call(coordinator.url, 'POST', path, {});
    coordinator.state.clock.advance(2_701);
    const dying = vi.spyOn(coordinator.state.workItems, 'replace').mockImplementationOnce(() => {
      throw new Error('the process died here');
    });
    expect((await get(coordinator.url, '/api/v1/claims')).status).toBe(500);
    dying.mockRestore();
    expect((await get(coordinator.url, '/api/v1/work-items')).list[0]).toMatchObject({
      status: 'open',
    });
  });
});

describe('the clock', () => {
  it('is not moved out of the calendar', async () => {
    const refused = await coordinator.admin('POST', '/devnet/clock/advance', { seconds: 1e15 });
    expect(refused.status).toBe(422);
    expect((await claim()).status).toBe(200);
    const lifetime = await coordinator.admin('PUT', '/devnet/settings', {
      claimLifetimeSeconds: 1e15,
    });
    expect(lifetime.status).toBe(422);
  });
});

describe('submissions', () => {
  it('use up their claim', async () => {
    const claimId = (await claim()).json['id'];
    const first = await submit({ claim_id: claimId });
    expect(first.json).toMatchObject({
      status: 'pending_verification',
      claim_id: claimId,
      base_commit_sha: COMMIT,
    });
    expect(outcome(await submit({ claim_id: claimId }))).toEqual([409, 'claim is submitted']);
    expect((await get(coordinator.url, `/api/v1/submissions?task_id=${task}`)).list).toHaveLength(
      1,
    );
  });

  it('answer 201 when the setting says so', async () => {
    await coordinator.set({ createdStatusCode: 201 });
    const claimed = await claim();
    expect([claimed.status, (await submit({ claim_id: claimed.json['id'] })).status]).toEqual([
      201, 201,
    ]);
  });

  it.each([
    [{ patch: '' }, 422],
    [{ patch: 'x'.repeat(262_145) }, 400],
    [{ summary: '' }, 422],
    [{ summary: 'x'.repeat(8_001) }, 422],
    [{ claimed_metrics: {} }, 422],
    [{ claimed_metrics: { heldout_ppl: 'low' } }, 422],
    [{ claimed_metrics: { other: 1 } }, 400],
    [{ artifact_uri: 'https://example.org/a' }, 422],
    [{ artifact_uri: 'https://example.org/a', artifact_sha256: 'AB', artifact_size_bytes: 1 }, 422],
  ])('with %j are refused and leave the claim active', async (fields, status) => {
    expect((await claimAndSubmit(fields)).status).toBe(status);
    expect((await get(coordinator.url, '/api/v1/claims?status=active')).list).toHaveLength(1);
    expect((await get(coordinator.url, '/api/v1/submissions')).list).toEqual([]);
  });

  it('with an artifact need no patch; the artifact route redirects to it', async () => {
    const artifact_uri = 'https://example.org/a';
    const { json } = await claimAndSubmit({
      patch: '',
      artifact_uri,
      artifact_sha256: 'ab'.repeat(32),
      artifact_size_bytes: 3111,
    });
    const redirect = await get(
      coordinator.url,
      `/api/v1/submissions/${String(json['id'])}/artifact`,
    );
    expect([redirect.status, redirect.headers.get('location')]).toEqual([307, artifact_uri]);
  });

  it('that are not JSON or come without fields are refused as FastAPI does', async () => {
    const broken = await miner.call(
      coordinator.url,
      'POST',
      '/api/v1/submissions',
      {},
      { sentText: '{"claim_id":' },
    );
    expect([broken.status, broken.json['detail']]).toMatchObject([422, [{ type: 'json_invalid' }]]);
    const empty = await miner.call(coordinator.url, 'POST', '/api/v1/submissions', {});
    expect(empty.json['detail']).toContainEqual(
      expect.objectContaining({ loc: ['body', 'claim_id'], type: 'missing' }),
    );
  });

  it('on a centerless task carry an idea, and name the one they implement once another miner has one', async () => {
    const centerless = await coordinator.addTask({ competition_mode: 'centerless' });
    const other = createSigner();
    expect((await claimAndSubmit({}, miner, centerless)).status).toBe(422);
    const first = await claimAndSubmit({ proposed_idea: 'row scales' }, miner, centerless);
    expect(first.status).toBe(200);
    // One's own idea does not bind.
    expect((await claimAndSubmit({ proposed_idea: 'thresholds' }, miner, centerless)).status).toBe(
      200,
    );
    expect((await claimAndSubmit({ proposed_idea: 'bias' }, other, centerless)).status).toBe(400);
    const unknown = { proposed_idea: 'bias', implemented_submission_id: 'nothing' };
    expect((await claimAndSubmit(unknown, other, centerless)).status).toBe(400);
    const implemented = { proposed_idea: 'bias', implemented_submission_id: first.json['id'] };
    const second = await claimAndSubmit(implemented, other, centerless);
    expect(second.status).toBe(200);

    const judge = await validator();
    const jobs = await judge.call(coordinator.url, 'POST', '/api/v1/validator/submissions/scan', {
      task_id: centerless,
    });
    const list = jobs.json['jobs'] as { job_id: string; submission_id: string }[];
    expect(list).toHaveLength(3);
    const job = list.find((each) => each.submission_id === second.json['id']);
    await judge.call(
      coordinator.url,
      'POST',
      `/api/v1/validator/jobs/${String(job?.job_id)}/result`,
      {
        submission_id: second.json['id'],
        status: 'accepted',
        observed_metrics: { heldout_ppl: 5.5 },
      },
    );
    const rewards = await get(
      coordinator.url,
      `/api/v1/idea-rewards?proposer_hotkey=${miner.address}`,
    );
    expect(rewards.list).toMatchObject([
      { submission_id: second.json['id'], implementer_hotkey: other.address },
    ]);
  });
});

describe('settings', () => {
  it('refuse unknown names and keep the others when one is changed', async () => {
    const refused = await coordinator.admin('PUT', '/devnet/settings', { nonsense: 1 });
    expect(refused.status).toBe(422);
    await coordinator.set({ claimLifetimeSeconds: 60 });
    await coordinator.set({ extraKeys: false });
    const { json } = await coordinator.admin('GET', '/devnet/settings');
    expect(json).toMatchObject({
      claimLifetimeSeconds: 60,
      extraKeys: false,
      timestampWindowSeconds: 300,
    });
    expect((await claim()).json).not.toHaveProperty('x_devnet_unknown');
    expect((await fetch(`${coordinator.url}/devnet/settings`)).status).toBe(401);
  });
});
