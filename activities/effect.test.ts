import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StepError } from '../core/error.js';
import { startRound, type Round } from '../test/support/coordinator-round.js';
import { effect, type Probed } from './effect.js';
import type { StepContext } from './step-type.js';

let round: Round;
let log: string[];
beforeEach(async () => {
  round = await startRound();
  log = [];
});
afterEach(() => round.close());

const later = { firstAttempt: false, attempt: 2 };
const intent = { what: 'test' };
const readIntent = () => round.adapters.evidence.readIntent('round-1', 'step');

function run(
  probed: Probed<string>,
  act: () => string = () => 'acted',
  change: Partial<StepContext> = {},
) {
  return effect(round.context('step', change), {
    intent,
    probe: async () => {
      log.push('probe');
      return probed;
    },
    act: async () => {
      log.push((await readIntent()) === null ? 'act without intent' : 'act');
      return act();
    },
  });
}

const refuse = (code: 'COORDINATOR_CONFLICT' | 'COORDINATOR_REPLY_TOO_LARGE') => (): never => {
  throw new StepError(code, 'no');
};
const found: Probed<string> = { kind: 'found', value: 'found' };
const absent: Probed<string> = { kind: 'absent' };
const unknown: Probed<string> = { kind: 'unknown', reason: 'nobody tells.' };

describe('effect', () => {
  it('acts at once at first, with its intent on the disk', async () => {
    expect(await run(unknown)).toBe('acted');
    expect(log).toEqual(['act']);
    expect(await readIntent()).toMatchObject(intent);
  });

  it.each<[string, Partial<StepContext>]>([
    ['a later attempt', later],
    ['a first attempt with an intent on the disk', {}],
  ])('%s looks first and adopts what it finds', async (_name, change) => {
    if (change.firstAttempt === undefined)
      await round.adapters.evidence.writeIntent('round-1', 'step', intent);
    expect(await run(found, undefined, change)).toBe('found');
    expect(log).toEqual(['probe']);
  });

  it('acts when it was certainly not done', async () => {
    expect(await run(absent, undefined, later)).toBe('acted');
    expect(log).toEqual(['probe', 'act']);
  });

  it('never acts when it cannot know', async () => {
    await expect(run(unknown, undefined, later)).rejects.toMatchObject({
      code: 'EFFECT_UNKNOWN',
      message: 'Whether it was done before cannot be known: nobody tells.',
    });
    expect(log).toEqual(['probe']);
  });

  it('settles a conflict by a look', async () => {
    expect(await run(found, refuse('COORDINATOR_CONFLICT'))).toBe('found');
    expect(log).toEqual(['act', 'probe']);
    await expect(run(absent, refuse('COORDINATOR_CONFLICT'))).rejects.toMatchObject({
      code: 'COORDINATOR_CONFLICT',
    });
  });

  it('takes a reply that was too large for an unclear outcome, which may be tried again', async () => {
    await expect(run(absent, refuse('COORDINATOR_REPLY_TOO_LARGE'))).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
    });
  });

  it('does nothing once it is cancelled', async () => {
    const controller = new AbortController();
    controller.abort(new Error('cancelled'));
    await expect(run(absent, undefined, { ...later, signal: controller.signal })).rejects.toThrow(
      'cancelled',
    );
    expect(log).toEqual(['probe']);
  });
});
