import { describe, expect, it } from 'vitest';
import type { ActivityStep, Plan, PlanStep } from '../core/plan.js';
import { CliFailure } from './failure.js';
import { roundLockOf } from './round-lock.js';
import { readRunTerms } from './run-terms.js';

const NOW = Date.parse('2026-11-21T10:00:00Z');

function step(id: string, uses = 'process.run'): ActivityStep {
  return {
    kind: 'step',
    id,
    key: id,
    uses,
    with: [],
    optional: [],
    options: {
      timeoutMs: 1000,
      retry: { attempts: 1, firstMs: 1, factor: 1, mostMs: 1, never: [] },
    },
    host: [],
  };
}

function plan(steps: readonly PlanStep[], others: Partial<Plan> = {}): Plan {
  return {
    irVersion: 1,
    pipeline: 'p',
    sourceSha256: '0'.repeat(64),
    network: { coordinator: 'https://c.example', hotkey: '5F' },
    inputs: { task: 'tiny' },
    steps,
    outputs: [],
    ...others,
  };
}

const foreach: PlanStep = {
  kind: 'foreach',
  id: 'candidates',
  key: 'candidates',
  items: { kind: 'literal', value: [] } as never,
  as: 'recipe',
  limit: 1,
  fail: 'wait',
  steps: [step('trained')],
};

function failure(options: { until?: string; deadline?: string }): CliFailure {
  try {
    readRunTerms(options, plan([step('gate'), foreach]), NOW);
  } catch (error) {
    if (error instanceof CliFailure) return error;
  }
  throw new Error('no failure');
}

describe('--until', () => {
  it('takes a path or an id of a step, inside an item too', () => {
    for (const until of ['gate', 'candidates', 'candidates#3/trained']) {
      expect(readRunTerms({ until }, plan([step('gate'), foreach]), NOW)).toEqual({ until });
    }
  });

  it.each(['trained', 'candidates#*/trained'])(
    'is a usage error for a step of every item: %s',
    (until) => {
      expect(failure({ until })).toMatchObject({
        code: 'USAGE',
        exitCode: 2,
        message: `--until: \`${until}\` is a step of every item, not of one.`,
        hint: 'Name the item, such as `candidates#0/trained`.',
      });
    },
  );

  it('is a usage error for a step that is not there, with those that are', () => {
    expect(failure({ until: 'gaet' })).toMatchObject({
      code: 'USAGE',
      exitCode: 2,
      message: expect.stringMatching(/^--until: .* has no step `gaet`; it has gate, candidates/),
    });
  });
});

describe('--deadline', () => {
  it('is a duration from now or a time with its zone', () => {
    const read = (deadline: string): unknown =>
      readRunTerms({ deadline }, plan([]), NOW).deadlineMs;
    expect(read('1h30m')).toBe(NOW + 5_400_000);
    expect(read('2026-11-21T12:00:00+01:00')).toBe(NOW + 3_600_000);
    expect(read('2026-11-21T11:00Z')).toBe(NOW + 3_600_000);
  });

  it.each([
    ['soon', '--deadline: "soon" is neither a duration nor a time.'],
    ['2026-11-22T06:00:00', '--deadline: "2026-11-22T06:00:00" is neither a duration nor a time.'],
    [
      '2026-13-41T06:00:00Z',
      '--deadline: "2026-13-41T06:00:00Z" is neither a duration nor a time.',
    ],
    ['2026-11-21T09:59:59Z', '--deadline: 2026-11-21T09:59:59Z is over.'],
  ])('%s is a usage error', (deadline, message) => {
    expect(failure({ deadline })).toMatchObject({ code: 'USAGE', exitCode: 2, message });
  });
});

describe('the lock of a round', () => {
  const strict = { allowParallelRounds: false };
  const effect = [step('a'), { ...foreach, steps: [step('claimed', 'coordinator.claim')] }];

  it('is one for a coordinator, a hotkey and a task', () => {
    const id = roundLockOf(plan(effect), strict);
    expect(id).toMatch(/^adit-round:[0-9a-f]{64}$/);
    expect(roundLockOf(plan(effect, { pipeline: 'other' }), strict)).toBe(id);
    expect(roundLockOf(plan(effect, { inputs: { task: 'other' } }), strict)).not.toBe(id);
    const elsewhere = { coordinator: 'https://d.example', hotkey: '5F' };
    expect(roundLockOf(plan(effect, { network: elsewhere }), strict)).not.toBe(id);
  });

  it('is not needed without an effect, a hotkey or a task, or where settings allow more', () => {
    expect(roundLockOf(plan([step('a')]), strict)).toBeNull();
    expect(roundLockOf(plan(effect, { inputs: {} }), strict)).toBeNull();
    expect(roundLockOf(plan(effect, { inputs: { task: 3 } }), strict)).toBeNull();
    const nobody = { coordinator: 'https://c.example', hotkey: '' };
    expect(roundLockOf(plan(effect, { network: nobody }), strict)).toBeNull();
    expect(roundLockOf(plan(effect), { allowParallelRounds: true })).toBeNull();
  });
});
