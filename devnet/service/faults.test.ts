import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cryptoWaitReady } from '@polkadot/util-crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createSigner, get } from '../testing/network-client.js';
import { VALIDATOR_AGENT } from '../validator/agent.js';
import { createFaultPlan, faultSchema } from './faults.js';
import { openJournal } from './journal.js';
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

  it('with a number lets requests pass until it is their turn', async () => {
    await fault({ kind: 'status', number: 3, times: 2 });
    const statuses: number[] = [];
    for (let count = 0; count < 6; count += 1) statuses.push((await tasks()).status);
    expect(statuses).toEqual([200, 200, 503, 503, 200, 200]);
  });

  it('with a number counts while another one strikes, and leaves the validator out', async () => {
    await fault({ kind: 'status', statusCode: 500, number: 1 });
    await fault({ kind: 'status', statusCode: 503, number: 2 });
    const headers = { 'user-agent': VALIDATOR_AGENT };
    const asked = await fetch(`${coordinator.url}/api/v1/tasks`, { headers });
    expect([asked.status, (await tasks()).status, (await tasks()).status]).toEqual([200, 500, 503]);
  });
});

describe('the journal', () => {
  it('has a line for each request, fault and held request, in order', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'adit-journal-'));
    const file = path.join(folder, 'journal.jsonl');
    const journal = openJournal(file);
    const plan = createFaultPlan((line) => journal.write(line));
    const route = 'POST /api/v1/submissions';
    plan.add(faultSchema.parse({ route, kind: 'hold', number: 2 }));
    plan.take('coordinator', route);
    plan.take('coordinator', route, 'validator');
    const held = plan.take('coordinator', route);
    if (held !== null) void plan.hold(held);
    journal.close();
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    const request = { event: 'request', service: 'coordinator', route, by: 'client' };
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual(
      [
        request,
        { ...request, by: 'validator' },
        request,
        { event: 'fault', service: 'coordinator', route, kind: 'hold' },
        { event: 'held', service: 'coordinator', route, kind: 'hold' },
      ].map((line) => ({ ...line, atMs: expect.any(Number) as number })),
    );
    rmSync(folder, { recursive: true });
  });
});

describe('the counting route', () => {
  it('counts by name, without a signature', async () => {
    const act = async (name: string): Promise<{ status: number; json: unknown }> => {
      const answer = await fetch(`${coordinator.url}/effects/${name}`, { method: 'POST' });
      return { status: answer.status, json: await answer.json() };
    };
    expect(await act('paid')).toMatchObject({ status: 200, json: { name: 'paid', count: 1 } });
    expect(await act('paid')).toMatchObject({ json: { count: 2 } });
    expect(await act('other')).toMatchObject({ json: { count: 1 } });
    expect((await act('No%20name')).status).toBe(422);
    const { json } = await get(coordinator.url, '/effects');
    expect(json).toMatchObject({ paid: 2, other: 1 });
  });
});
