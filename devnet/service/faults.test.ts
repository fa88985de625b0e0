import { cryptoWaitReady } from '@polkadot/util-crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createSigner, get } from '../testing/network-client.js';
import { runCoordinator, type RunningCoordinator } from '../testing/running-coordinator.js';

let coordinator: RunningCoordinator;

beforeAll(async () => {
  await cryptoWaitReady();
});
beforeEach(async () => {
  coordinator = await runCoordinator();
});
afterEach(async () => {
  await coordinator.close();
});

const fault = async (fields: Record<string, unknown>): Promise<void> => {
  const { status, text } = await coordinator.admin('POST', '/devnet/faults', {
    route: 'GET /api/v1/tasks',
    ...fields,
  });
  if (status !== 200) throw new Error(text);
};
const tasks = async (): ReturnType<typeof get> => get(coordinator.url, '/api/v1/tasks');

describe('a fault', () => {
  it('strikes as often as asked, on its route only', async () => {
    await fault({ kind: 'status', times: 2, statusCode: 503 });
    expect((await get(coordinator.url, '/api/v1/claims')).status).toBe(200);
    expect([(await tasks()).status, (await tasks()).status, (await tasks()).status]).toEqual([
      503, 503, 200,
    ]);
    expect((await coordinator.admin('GET', '/devnet/faults')).text).toBe('[]');
  });

  it('can be taken back', async () => {
    await fault({ kind: 'status', times: 5 });
    await coordinator.admin('DELETE', '/devnet/faults');
    expect((await tasks()).status).toBe(200);
  });

  it('answers 429 with Retry-After', async () => {
    await fault({ kind: 'status', statusCode: 429, retryAfterSeconds: 7 });
    const { status, headers } = await tasks();
    expect([status, headers.get('retry-after')]).toEqual([429, '7']);
  });

  it('answers HTML, half of the JSON, a redirect or a large body', async () => {
    await fault({ kind: 'html' });
    const html = await tasks();
    expect([html.status, html.headers.get('content-type')]).toEqual([200, 'text/html']);
    await coordinator.addTask({});
    await fault({ kind: 'truncated_json' });
    const half = await tasks();
    expect(half.text).toMatch(/^\[\{/);
    expect(() => JSON.parse(half.text)).toThrow(SyntaxError);
    await fault({ kind: 'redirect' });
    expect((await tasks()).status).toBe(307);
    await fault({ kind: 'large_body', sizeBytes: 3_000_000 });
    expect((await tasks()).text).toHaveLength(3_000_000);
  });

  it('drops the connection after the submission was stored, or before anything happened', async () => {
    const task = await coordinator.addTask({});
    const miner = createSigner();
    const claim = await miner.call(coordinator.url, 'POST', `/api/v1/tasks/${task}/claim`, {
      claim_description: 'x',
    });
    const submit = async (): Promise<unknown> =>
      miner.call(coordinator.url, 'POST', '/api/v1/submissions', {
        claim_id: claim.json['id'],
        base_ref: 'production',
        patch: 'x',
        summary: 'x',
        claimed_metrics: { heldout_ppl: 8 },
      });
    await fault({ route: 'POST /api/v1/submissions', kind: 'drop_before' });
    await expect(submit()).rejects.toThrow('fetch failed');
    expect(coordinator.state.submissions.list()).toHaveLength(0);
    await fault({ route: 'POST /api/v1/submissions', kind: 'drop_after' });
    await expect(submit()).rejects.toThrow('fetch failed');
    expect(coordinator.state.submissions.list()).toHaveLength(1);
    const counters = (await coordinator.admin('GET', '/devnet/counters')).json['coordinator'];
    expect(counters).toMatchObject({ 'POST /api/v1/submissions': { requests: 2 } });
  });

  it('leaves the operator’s own routes alone', async () => {
    await fault({ route: '*', kind: 'status' });
    expect((await coordinator.admin('GET', '/devnet/status')).status).toBe(200);
    expect((await tasks()).status).toBe(503);
  });

  const state = async (): Promise<{ fired: { kind: string }[]; held: number }> => {
    const { json } = await coordinator.admin('GET', '/devnet/faults/fired');
    return { fired: json['fired'] as { kind: string }[], held: Number(json['held']) };
  };

  it('tells that it fired', async () => {
    await fault({ kind: 'status' });
    expect(await state()).toEqual({ fired: [], held: 0 });
    await tasks();
    expect(await state()).toMatchObject({
      fired: [{ kind: 'status', route: 'GET /api/v1/tasks' }],
    });
  });

  it.each(['hold', 'hold_reply'])('of kind %s waits until it is released', async (kind) => {
    await fault({ kind });
    const waiting = tasks();
    await expect.poll(async () => (await state()).held).toBe(1);
    await coordinator.admin('POST', '/devnet/faults/release');
    expect((await waiting).status).toBe(200);
    expect((await state()).held).toBe(0);
  });

  it('drops a connection and carries its request out after another route was answered', async () => {
    await fault({ kind: 'detach', route: 'GET /api/v1/claims', until: 'GET /api/v1/tasks' });
    await expect(get(coordinator.url, '/api/v1/claims')).rejects.toThrow();
    expect((await state()).held).toBe(1);
    await tasks();
    await expect.poll(async () => (await state()).held).toBe(0);
    const { json } = await coordinator.admin('GET', '/devnet/counters');
    expect(json).toMatchObject({
      coordinator: { 'GET /api/v1/claims': { requests: 1, statuses: { 200: 1 } } },
    });
  });

  it('of kind status_after does what was asked and denies it', async () => {
    await fault({ kind: 'status_after', statusCode: 409 });
    expect((await tasks()).status).toBe(409);
  });
});
