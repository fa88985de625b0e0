import { describe, expect, test } from 'vitest';
import { readSchedule, type Schedule } from './schedule.js';
import type { RunFacts } from './facts.js';
import { FAULT_CLASSES, FAULT_NAMES, FAULTS } from './fault.js';
import { checkInvariants, type INVARIANTS } from './invariants.js';
import { checkOutcome, RIGHT_OUTCOMES } from './right-outcomes.js';

const GOOD: RunFacts = {
  end: { status: 'succeeded', code: null },
  steps: [
    { path: 'trained', uses: 'candidate.train', status: 'succeeded' },
    { path: 'submission', uses: 'try', status: 'succeeded' },
    { path: 'submission/claim', uses: 'coordinator.claim', status: 'succeeded' },
    { path: 'submission/finally/cancel', uses: 'coordinator.cancel_claim', status: 'succeeded' },
  ],
  effects: [
    { stepPath: 'submission/claim', what: 'claim', settled: true, alarms: [] },
    { stepPath: 'submission/submit', what: 'submission', settled: true, alarms: [] },
  ],
  claims: [{ id: 'c1', status: 'submitted', expiresAt: '2026-01-01T00:45:00Z' }],
  submissions: [
    { id: 's1', claimId: 'c1', taskId: 't1', effectKey: 'r submission/submit', passed: true },
  ],
  counted: { once: 1 },
  programs: [
    { stepPath: 'trained', beganAtMs: 0, endedAtMs: 10, failed: false },
    { stepPath: 'trained', beganAtMs: 10, endedAtMs: 20, failed: false },
    { stepPath: 'other', beganAtMs: 5, endedAtMs: 30, failed: false },
  ],
  left: 0,
};

const [CLAIM] = GOOD.claims;
const [SUBMISSION] = GOOD.submissions;
const rules = (facts: Partial<RunFacts>): string[] =>
  checkInvariants({ ...GOOD, ...facts }).map(({ rule }) => rule);

describe('invariants', () => {
  test('a good run keeps them all', () => {
    expect(checkInvariants(GOOD)).toEqual([]);
  });

  test('each one is broken by what it is about, and no other', () => {
    const broken: { [rule in keyof typeof INVARIANTS]: Partial<RunFacts> } = {
      ended: { end: null },
      one_submission: { submissions: [SUBMISSION!, { ...SUBMISSION!, id: 's2' }] },
      acts_once: { counted: { once: 2 } },
      gated: { submissions: [{ ...SUBMISSION!, passed: false }] },
      claims_settled: { claims: [{ ...CLAIM!, status: 'active' }] },
      no_alarm: { effects: [{ ...GOOD.effects[0]!, alarms: ['a second claim'] }] },
      no_overlap: {
        programs: [
          ...GOOD.programs,
          { stepPath: 'other', beganAtMs: 29, endedAtMs: 40, failed: false },
        ],
      },
      nothing_left: { left: 1 },
      finally_ran: {
        steps: GOOD.steps.map((step) =>
          step.path.includes('finally') ? { ...step, status: 'pending' } : step,
        ),
      },
    };
    for (const [rule, facts] of Object.entries(broken)) expect(rules(facts)).toEqual([rule]);
  });

  test('submissions of two effects are one each', () => {
    const other = { ...SUBMISSION!, id: 's2', effectKey: 'r again/submit' };
    expect(rules({ submissions: [SUBMISSION!, other] })).toEqual([]);
  });

  test('submissions that no audit knows count together', () => {
    const unknown = { ...SUBMISSION!, effectKey: null };
    expect(rules({ submissions: [unknown, { ...unknown, id: 's2' }] })).toEqual(['one_submission']);
  });

  test('a claim may be left where it cannot be known, if it runs out', () => {
    const effects = [{ ...GOOD.effects[1]!, settled: false }];
    const active = { ...CLAIM!, status: 'active' };
    expect(rules({ effects, claims: [active] })).toEqual([]);
    expect(rules({ effects, claims: [{ ...active, expiresAt: null }] })).toEqual([
      'claims_settled',
    ]);
  });

  test('a start that was not seen to end overlaps what follows', () => {
    const programs = [
      { stepPath: 'trained', beganAtMs: 0, endedAtMs: null, failed: false },
      { stepPath: 'trained', beganAtMs: 100, endedAtMs: 110, failed: false },
    ];
    expect(rules({ programs })).toEqual(['no_overlap']);
  });

  test('`finally` need not run for a block that was never begun', () => {
    const steps = GOOD.steps.map((step) =>
      step.path.startsWith('submission') ? { ...step, status: 'pending' as const } : step,
    );
    expect(rules({ steps })).toEqual([]);
  });

  test.each(['running', 'cancelled', 'parked'] as const)(
    '`finally` that is %s did not run',
    (status) => {
      const steps = GOOD.steps.map((step) =>
        step.path.includes('finally') ? { ...step, status } : step,
      );
      expect(rules({ steps })).toEqual(['finally_ran']);
    },
  );
});

describe('right outcomes', () => {
  const of = (text: string): Schedule => {
    const read = readSchedule(text);
    if ('problem' in read) throw new Error(read.problem);
    return read.schedule;
  };
  const LOST = of('drop_reply@reply:coordinator:POST:/api/v1/submissions:1');
  const EXPIRED = of('expire_claims@request:coordinator:POST:/api/v1/submissions:1');
  const KILLED = of('kill_program@record:program:trained:1');
  const HOST = of('kill_host@record:program:trained:1');
  const AGAIN = of('cancel_and_retry@record:ended:trained:1');
  const check = (facts: Partial<RunFacts>, schedule: Schedule): string[] =>
    checkOutcome({ ...GOOD, ...facts }, GOOD, schedule).map(({ rule }) => rule);
  const moreStart = {
    programs: [...GOOD.programs, { stepPath: 'x', beganAtMs: 50, endedAtMs: 60, failed: false }],
  };

  test('every class of fault has a row, and every row a fault', () => {
    const used = new Set(FAULT_NAMES.map((name) => FAULTS[name].class));
    expect([...used].toSorted()).toEqual([...FAULT_CLASSES].toSorted());
    expect(Object.keys(RIGHT_OUTCOMES).toSorted()).toEqual([...FAULT_CLASSES].toSorted());
  });

  test('the outcome without a fault is right after each', () => {
    for (const schedule of [LOST, EXPIRED, KILLED, HOST, AGAIN])
      expect(check({}, schedule)).toEqual([]);
  });

  test('a run that ends otherwise is right only where the table says so', () => {
    const expired = {
      end: { status: 'failed', code: 'CLAIM_EXPIRED' },
      submissions: [],
    } as const satisfies Partial<RunFacts>;
    expect(check(expired, EXPIRED)).toEqual([]);
    expect(check(expired, [...LOST, ...EXPIRED])).toEqual([]);
    expect(check(expired, LOST)).toEqual(['right_end']);
    expect(
      check({ end: { status: 'failed', code: 'DISK_FULL' }, submissions: [] }, EXPIRED),
    ).toEqual(['right_end']);
  });

  test('a command that fails is right only where the fault met a request of its own', () => {
    const end = { end: { status: 'failed', code: 'PROGRAM_FAILED' }, submissions: [] } as const;
    const route = 'coordinator:POST:/effects/:name:1';
    for (const text of [`drop_reply@reply:${route}`, `unavailable@request:${route}`])
      expect(check(end, of(text))).toEqual([]);
    expect(check(end, LOST)).toEqual(['right_end']);
    expect(check(end, of('restart_server@record:ended:trained:1'))).toEqual(['right_end']);
    expect(check(end, KILLED)).toEqual([]);
  });

  test('what its commands do has as many names as without a fault, fewer only where it ends otherwise', () => {
    expect(check({ counted: { once: 1, again: 1 } }, LOST)).toEqual(['right_effects']);
    expect(check({ counted: {} }, LOST)).toEqual(['right_effects']);
    const end = { status: 'failed', code: 'CLAIM_EXPIRED' } as const;
    expect(check({ end, submissions: [], counted: {} }, EXPIRED)).toEqual([]);
  });

  test('a run that ends well has submitted as often as without a fault', () => {
    expect(check({ submissions: [] }, LOST)).toEqual(['right_submissions']);
    expect(check({ submissions: [SUBMISSION!, SUBMISSION!] }, EXPIRED)).toEqual([
      'right_submissions',
    ]);
  });

  test('a submission too many is wrong however the run ends', () => {
    const end = { status: 'failed', code: 'CLAIM_EXPIRED' } as const;
    expect(check({ end, submissions: [SUBMISSION!, SUBMISSION!] }, EXPIRED)).toEqual([
      'right_submissions',
    ]);
  });

  test('more claims and starts are right only after what asks for them', () => {
    const claims = [...GOOD.claims, { ...CLAIM!, id: 'c2' }];
    expect(check({ claims }, LOST)).toEqual(['right_claims']);
    expect(check({ claims }, AGAIN)).toEqual([]);
    expect(check(moreStart, LOST)).toEqual(['right_starts']);
    for (const schedule of [KILLED, HOST]) expect(check(moreStart, schedule)).toEqual([]);
    expect(check(moreStart, AGAIN)).toEqual([]);
    const two = { programs: [...moreStart.programs, ...moreStart.programs.slice(-1)] };
    for (const schedule of [KILLED, HOST]) expect(check(two, schedule)).toEqual(['right_starts']);
    expect(check(two, [...KILLED, ...KILLED])).toEqual([]);
  });

  test('a start after one that failed by itself is the answer of its step', () => {
    const again = { stepPath: 'x', beganAtMs: 50, endedAtMs: 60, failed: true };
    expect(check({ programs: [...GOOD.programs, again] }, LOST)).toEqual([]);
    expect(
      check({ programs: [...GOOD.programs, again, { ...again, failed: false }] }, LOST),
    ).toEqual(['right_starts']);
  });

  test('a run that did not end is told of once', () => {
    expect(check({ end: null }, LOST)).toEqual([]);
    expect(check({ end: null, submissions: [] }, LOST)).toEqual([]);
  });
});
