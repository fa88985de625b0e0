import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeHold, writeHold } from '../adapters/evidence/effect-hold.js';
import type { EffectRecord } from '../core/effect-record.js';
import { NotYet, StepError, type StepErrorCode } from '../core/error.js';
import { startRound, type Round } from '../test/support/coordinator-round.js';
import { effect, type EffectParts, type Probed } from './effect.js';
import type { StepContext } from './step-type.js';

let round: Round;
let log: string[];
beforeEach(async () => {
  round = await startRound();
  log = [];
});
afterEach(() => round.close());

const later = { firstAttempt: false, attempt: 2 };
const intent = { id: 'x' };
const sentSha256 = 'a'.repeat(64);
const record = async (): Promise<EffectRecord> => {
  const kept = await round.adapters.evidence.readEffect('round-1', 'step');
  if (kept === null) throw new Error('nothing was recorded');
  return kept;
};
const HOUR = 3_600_000;

interface Script extends Partial<EffectParts<string>> {
  probed?: Probed<string>;
  /** What happens once the request is sent. */
  sent?: () => string | Promise<string>;
  change?: Partial<StepContext>;
}

function run({ probed = unknown, sent = () => 'acted', change = {}, ...parts }: Script = {}) {
  return effect(round.context('step', change), {
    what: 'test',
    hotkey: '5x',
    intent,
    sentSha256,
    settle: { windowMs: 0, lagMs: 0 },
    probe: async () => {
      log.push('probe');
      return probed;
    },
    act: async (sending) => {
      await sending.begin(Date.now());
      log.push(`act ${(await record()).tries.length}`);
      return sent();
    },
    judge: ({ code }) =>
      code === 'COORDINATOR_CONFLICT'
        ? 'conflict'
        : code === 'COORDINATOR_UNAVAILABLE'
          ? 'unclear'
          : 'refused',
    evidence: (id) => ({ id }),
    ...parts,
  });
}

const fail = (code: StepErrorCode) => (): never => {
  throw new StepError(code, `said ${code}`);
};
const lost = fail('COORDINATOR_UNAVAILABLE');
const found: Probed<string> = { kind: 'found', value: 'found' };
const absent: Probed<string> = { kind: 'absent' };
const unknown: Probed<string> = { kind: 'unknown', reason: 'nobody tells.' };
const slow = { windowMs: HOUR, lagMs: HOUR };

describe('effect', () => {
  it('acts at once at first, with the try on the disk before, and keeps how it ended', async () => {
    expect(await run()).toBe('acted');
    expect(log).toEqual(['act 1']);
    expect(await record()).toMatchObject({
      roundId: 'round-1',
      stepPath: 'step',
      what: 'test',
      hotkey: '5x',
      intent,
      sentSha256,
      tries: [
        { runId: 'round-1', start: 1, attempt: 1, outcome: 'done', evidence: { id: 'acted' } },
      ],
      probes: [],
      alarms: [],
      settled: { by: 'reply', evidence: { id: 'acted' } },
    });
  });

  it('acts without a look when no request was ever sent, at whatever attempt', async () => {
    const refused = { act: fail('TASK_NOT_LIVE') };
    await expect(run(refused)).rejects.toMatchObject({ code: 'TASK_NOT_LIVE' });
    expect((await record()).tries).toEqual([]);
    expect(await run({ change: later })).toBe('acted');
    expect(log).toEqual(['act 1']);
  });

  it('looks when a request was sent, and adopts what it finds', async () => {
    await expect(run({ sent: lost })).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' });
    expect(await run({ probed: found, settle: slow })).toBe('found');
    expect(log).toEqual(['act 1', 'probe']);
    expect(await record()).toMatchObject({
      tries: [{ outcome: 'unclear' }],
      probes: [{ result: 'found', evidence: { id: 'found' } }],
      settled: { by: 'probe', evidence: { id: 'found' } },
    });
  });

  it('looks when an earlier attempt may have acted where this record is not', async () => {
    const scheduledAtMs = Date.now();
    await expect(
      run({ probed: absent, settle: slow, change: { ...later, scheduledAtMs } }),
    ).rejects.toMatchObject({ name: 'NotYet', code: 'EFFECT_SETTLING' });
    // The wait is counted from that attempt, not from each that follows.
    expect((await record()).unseenUntil).toBe(new Date(scheduledAtMs).toISOString());
    await expect(
      run({
        probed: absent,
        settle: slow,
        change: { ...later, scheduledAtMs: scheduledAtMs + HOUR },
      }),
    ).rejects.toMatchObject({ code: 'EFFECT_SETTLING' });
    expect((await record()).unseenUntil).toBe(new Date(scheduledAtMs).toISOString());
    expect(await run({ probed: absent, change: later })).toBe('acted');
    expect(log).toEqual(['probe', 'probe', 'probe', 'act 1']);
  });

  it('looks in a later run of a round, and acts at once where nothing is there', async () => {
    const call = { ...round.context('step').call, runId: 'run-2' };
    expect(await run({ probed: absent, settle: slow, change: { call } })).toBe('acted');
    expect(log).toEqual(['probe', 'act 1']);
  });

  it('looks in a run that was reset, and acts at once where nothing is there', async () => {
    const call = { ...round.context('step').call, reset: true as const };
    expect(await run({ probed: absent, settle: slow, change: { call, firstAttempt: false } })).toBe(
      'acted',
    );
    expect(log).toEqual(['probe', 'act 1']);
  });

  it('takes the intent of the build before for a request that may have been sent', async () => {
    const folder = path.join(round.settings.stateDir, 'effects', 'round-1');
    await mkdir(folder, { recursive: true });
    const name = createHash('sha256').update('step').digest('hex').slice(0, 32);
    const old = { what: 'test', claimId: 'old', recordedAt: '2026-06-24T20:19:03.000Z' };
    await writeFile(path.join(folder, `${name}.json`), JSON.stringify(old));
    await expect(run({ probed: absent, settle: slow })).rejects.toMatchObject({
      code: 'EFFECT_SETTLING',
    });
    expect(await record()).toMatchObject({ intent: { claimId: 'old' }, sentSha256 });
    expect(await run({ probed: absent })).toBe('acted');
    expect((await record()).tries[0]?.about).toEqual({ ...intent, sentSha256 });
  });

  it('waits, with the time shown, while an earlier request may still arrive', async () => {
    await expect(run({ sent: lost })).rejects.toThrow();
    const sentAt = Date.parse((await record()).tries[0]?.sentAt ?? '');
    const until = new Date(sentAt + 2 * HOUR).toISOString();
    const error = await run({ probed: absent, settle: slow, change: later }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(NotYet);
    expect(error).toMatchObject({
      code: 'EFFECT_SETTLING',
      message: `An earlier request may still arrive until ${until}; so far it is not there.`,
      afterMs: 30_000,
    });
    expect(round.progress.at(-1)).toEqual({ settling: 'it is not there.', until });
    expect(log).toEqual(['act 1', 'probe']);
  });

  it('acts at once when a look shows that nothing under way could be carried out', async () => {
    await expect(run({ sent: lost })).rejects.toThrow();
    const probed: Probed<string> = { kind: 'absent', certain: true };
    expect(await run({ probed, settle: slow, change: later })).toBe('acted');
    expect(log).toEqual(['act 1', 'probe', 'act 2']);
  });

  it('needs no settling after a refusal, nor after a request that never left', async () => {
    await expect(run({ sent: fail('COORDINATOR_RATE_LIMITED') })).rejects.toThrow();
    await expect(
      run({
        probed: absent,
        settle: slow,
        change: later,
        act: async (sending) => {
          await sending.begin(Date.now());
          sending.neverSent();
          return lost();
        },
      }),
    ).rejects.toThrow();
    expect(await run({ probed: absent, settle: slow, change: later })).toBe('acted');
    expect((await record()).tries).toMatchObject([
      { outcome: 'refused', evidence: { code: 'COORDINATOR_RATE_LIMITED' } },
      { outcome: 'refused', evidence: { code: 'COORDINATOR_UNAVAILABLE', sent: false } },
      { outcome: 'done' },
    ]);
  });

  it('asks a person when it cannot know, and never acts; what the person says looks again', async () => {
    await expect(run({ sent: lost })).rejects.toThrow();
    const askUntilMs = Date.now() + HOUR;
    await expect(run({ change: later, askUntilMs: () => askUntilMs })).rejects.toMatchObject({
      code: 'EFFECT_UNKNOWN',
      message: 'Whether it was done before cannot be known: nobody tells.',
      hint: expect.stringContaining('adit decide'),
      askUntilMs,
    });
    await expect(run({ settle: slow, change: later })).rejects.toMatchObject({
      code: 'EFFECT_SETTLING',
    });
    const call = { ...round.context('step').call, start: 2 };
    await expect(run({ change: { ...later, call } })).rejects.toMatchObject({
      code: 'EFFECT_UNKNOWN',
    });
    expect(log).toEqual(['act 1', 'probe', 'probe', 'probe']);
  });

  it('takes a look that is refused for good for one that shows nothing', async () => {
    await expect(run({ sent: lost })).rejects.toThrow();
    await expect(
      run({ change: later, probe: async () => fail('COORDINATOR_FORBIDDEN')() }),
    ).rejects.toMatchObject({
      code: 'EFFECT_UNKNOWN',
      message:
        'Whether it was done before cannot be known: the look failed: said COORDINATOR_FORBIDDEN',
    });
    await expect(run({ change: later, probe: async () => lost() })).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
    });
    expect(log).toEqual(['act 1']);
  });

  it('settles a conflict by a look', async () => {
    const conflict = { sent: fail('COORDINATOR_CONFLICT') };
    expect(await run({ ...conflict, probed: found })).toBe('found');
    expect(log).toEqual(['act 1', 'probe']);
  });

  it('fails with a conflict that is about nothing of its own, once lists had time to show it', async () => {
    const conflict = { probed: absent, sent: fail('COORDINATOR_CONFLICT') };
    const lagging = { windowMs: 0, lagMs: HOUR };
    await expect(run({ ...conflict, settle: lagging })).rejects.toMatchObject({
      code: 'EFFECT_SETTLING',
    });
    await expect(run({ ...conflict, change: later })).rejects.toMatchObject({
      code: 'COORDINATOR_CONFLICT',
      message: 'said COORDINATOR_CONFLICT',
    });
    expect(log).toEqual(['act 1', 'probe', 'probe']);
    // Only a new start, by a person's word, tries again.
    const call = { ...round.context('step').call, start: 2 };
    expect(await run({ probed: absent, change: { ...later, call } })).toBe('acted');
  });

  it('ends a final refusal as settled', async () => {
    await expect(run({ sent: fail('COORDINATOR_REFUSED') })).rejects.toThrow();
    expect((await record()).settled).toMatchObject({
      by: 'refusal',
      evidence: { code: 'COORDINATOR_REFUSED', message: 'said COORDINATOR_REFUSED' },
    });
  });

  it('lets only one of two workers send', async () => {
    const both = await Promise.allSettled([run(), run()]);
    const sent = both.filter(({ status }) => status === 'fulfilled');
    expect(sent).toHaveLength(1);
    expect(both.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { name: 'NotYet', code: 'EFFECT_SETTLING' },
    });
    expect(log).toEqual(['act 1']);
  });

  it('does nothing once it is cancelled', async () => {
    const controller = new AbortController();
    controller.abort(new Error('cancelled'));
    await expect(
      run({ probed: absent, change: { ...later, signal: controller.signal } }),
    ).rejects.toThrow('cancelled');
    expect(log).toEqual(['probe']);
  });

  it('leaves a try open whose step is cancelled under way', async () => {
    const controller = new AbortController();
    const sent = (): never => {
      controller.abort(new Error('cancelled'));
      throw controller.signal.reason as Error;
    };
    await expect(run({ sent, change: { signal: controller.signal } })).rejects.toThrow('cancelled');
    const kept = await record();
    expect(kept.tries).toHaveLength(1);
    expect(kept.tries[0]).not.toHaveProperty('outcome');
  });

  it('holds while a person says so, and still looks', async () => {
    await expect(run({ sent: lost })).rejects.toThrow();
    const hold = { by: 'ann', reason: 'audit', since: '2026-06-24T20:19:03.000Z' };
    await writeHold(round.settings.stateDir, hold);
    await expect(run({ probed: absent, change: later })).rejects.toMatchObject({
      name: 'NotYet',
      code: 'EFFECTS_HELD',
      message: 'All effects are held by ann since 2026-06-24T20:19:03.000Z: audit.',
      afterMs: 5_000,
    });
    expect(round.progress.at(-1)).toEqual({ heldBy: 'ann', reason: 'audit', since: hold.since });
    expect(await run({ probed: found, change: later })).toBe('found');
    await removeHold(round.settings.stateDir);
    expect(log).toEqual(['act 1', 'probe', 'probe']);
  });

  it('sends nothing when a hold comes between its checks and the request', async () => {
    await expect(
      run({
        act: async (sending) => {
          await writeHold(round.settings.stateDir, { by: 'ann', reason: '', since: 'now' });
          await sending.begin(Date.now());
          return 'acted';
        },
      }),
    ).rejects.toMatchObject({
      code: 'EFFECTS_HELD',
      message: 'All effects are held by ann since now.',
    });
    expect((await record()).tries).toEqual([]);
  });
});
