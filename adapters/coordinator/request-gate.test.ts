import { describe, expect, it, vi } from 'vitest';
import { createRequestGate } from './request-gate.js';

const { signal } = new AbortController();

/** `count` callers at once against a coordinator that is down until `up` says otherwise; times of each request. */
async function storm(count: number, up: () => boolean) {
  const gate = createRequestGate();
  const requests: { atMs: number; ok: boolean }[] = [];
  let atOnce = 0;
  let mostAtOnce = 0;
  const call = (): Promise<boolean> =>
    gate.pass(async () => {
      atOnce += 1;
      mostAtOnce = Math.max(mostAtOnce, atOnce);
      await new Promise((resolve) => setImmediate(resolve));
      atOnce -= 1;
      const ok = up();
      requests.push({ atMs: Date.now(), ok });
      if (ok) gate.answered();
      else gate.outage('it is down');
      return ok;
    }, signal);
  const results = await Promise.allSettled(Array.from({ length: count }, call));
  return { requests, results, mostAtOnce };
}

describe('the gate of a coordinator', () => {
  it('lets few of a hundred callers through while the coordinator is down', async () => {
    const { requests, results, mostAtOnce } = await storm(100, () => false);
    // Eight were under way before anything was known; then one at a time, each after a longer wait.
    expect(mostAtOnce).toBe(8);
    expect(requests.length).toBeLessThanOrEqual(8 + 5);
    const refused = results.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(85);
    expect(refused[0]).toMatchObject({
      reason: {
        code: 'COORDINATOR_UNAVAILABLE',
        message: expect.stringMatching(/^The coordinator is not asked before .+Z: it is down$/),
      },
    });
    const waits = refused.map((each) =>
      each.status === 'rejected' ? (each.reason as { retryAfterMs: number }).retryAfterMs : 0,
    );
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(1_000);
    expect(new Set(waits).size).toBeGreaterThan(10);
  });

  it('sends one request first when the wait is over, and all once it is answered', async () => {
    let asked = 0;
    const { requests, results } = await storm(100, () => (asked += 1) > 8);
    expect(results.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(requests).toHaveLength(100);
    expect(requests.slice(0, 8).every(({ ok }) => !ok)).toBe(true);
    expect(requests.slice(8).every(({ ok }) => ok)).toBe(true);
  });

  it('keeps to the time of a rate limit, also when another request is answered meanwhile', async () => {
    const gate = createRequestGate();
    await gate.pass(async () => gate.rateLimited('slow down', 60_000), signal);
    gate.answered();
    await expect(gate.pass(async () => 'sent', signal)).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
      message: expect.stringContaining('slow down'),
    });
  });

  it('opens in time also when the clock of the machine is set back', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      const gate = createRequestGate();
      await gate.pass(async () => gate.outage('it is down'), signal);
      vi.setSystemTime(Date.now() - 3_600_000);
      expect(await gate.pass(async () => 'sent', signal)).toBe('sent');
    } finally {
      vi.useRealTimers();
    }
  });

  it('gives up waiting when its caller is cancelled', async () => {
    const gate = createRequestGate();
    await gate.pass(async () => gate.rateLimited('slow down', 4_000), signal);
    const controller = new AbortController();
    const waiting = gate.pass(async () => 'sent', controller.signal);
    controller.abort(new Error('cancelled'));
    await expect(waiting).rejects.toThrow('cancelled');
  });
});
