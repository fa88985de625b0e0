import { array, assert, constantFrom, nat, property } from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  boundariesOf,
  boundaryText,
  effectBoundaries,
  readBoundary,
  type Service,
  type TraceEvent,
} from './boundary.js';
import { FAULT_NAMES, FAULTS, faultsAt, lookAfter } from './fault.js';
import {
  coverageOf,
  fullSchedules,
  pairSchedules,
  quickSchedules,
  readSchedule,
  scheduleText,
  type Schedule,
} from './schedule.js';
import { shrinkSchedule } from './shrink.js';

const CLAIM = 'POST /api/v1/tasks/:id/claim';
const SUBMIT = 'POST /api/v1/submissions';

const asked = (route: string, service: Service = 'coordinator'): TraceEvent => ({
  kind: 'request',
  service,
  route,
});
const wrote = (record: 'ended' | 'effect' | 'try' | 'program', path: string): TraceEvent => ({
  kind: 'record',
  record,
  path,
});

/** A small round: look, train, claim, submit. */
const ROUND: readonly TraceEvent[] = [
  asked('GET /api/v1/tasks'),
  wrote('ended', 'discover'),
  wrote('program', 'candidates#0/trained'),
  wrote('ended', 'candidates#0/trained'),
  wrote('effect', 'submission/claim'),
  wrote('try', 'submission/claim'),
  asked(CLAIM),
  wrote('effect', 'submission/claim'),
  wrote('ended', 'submission/claim'),
  wrote('effect', 'submission/submit'),
  wrote('try', 'submission/submit'),
  asked(SUBMIT),
  asked('GET /api/v1/submissions/:id'),
  wrote('effect', 'submission/submit'),
  wrote('ended', 'submission/submit'),
  asked('GET /api/v1/submissions/:id'),
  asked('GET /api/v1/submissions/:id'),
  wrote('ended', 'acceptance'),
];

const POOL = ['GET', 'HEAD'].map((method) => asked(`${method} /claims/epoch`, 'pool'));
const traces = array(constantFrom(...ROUND, ...POOL), { maxLength: 40 });

describe('boundaries', () => {
  test('a request has two sides, and what is equal is numbered', () => {
    const texts = boundariesOf(ROUND).map(boundaryText);
    expect(texts.slice(0, 4)).toEqual([
      'request:coordinator:GET:/api/v1/tasks:1',
      'reply:coordinator:GET:/api/v1/tasks:1',
      'record:ended:discover:1',
      'record:program:candidates#0/trained:1',
    ]);
    expect(texts).toContain('record:effect:submission/claim:2');
    expect(new Set(texts).size).toBe(texts.length);
  });

  test('looks in a row are one, whatever else happens between them', () => {
    const texts = boundariesOf(ROUND).map(boundaryText);
    const looks = texts.filter((text) =>
      text.startsWith('request:coordinator:GET:/api/v1/submissions/:id'),
    );
    expect(looks).toEqual(['request:coordinator:GET:/api/v1/submissions/:id:1']);
  });

  test('a change that is repeated is never taken for a poll', () => {
    const texts = boundariesOf([asked(SUBMIT), asked(SUBMIT)]).map(boundaryText);
    expect(texts.filter((text) => text.startsWith('request'))).toHaveLength(2);
  });

  test('a text means the boundary that it was made of', () => {
    assert(
      property(traces, (trace) => {
        for (const boundary of boundariesOf(trace)) {
          expect(readBoundary(boundaryText(boundary))).toEqual(boundary);
        }
      }),
    );
  });

  test('a file that is put to see whether its place takes one is no effect', () => {
    const put = asked('PUT /:name', 'artifacts');
    const effectsOf = (...trace: TraceEvent[]): string[] =>
      [...effectBoundaries(boundariesOf(trace), new Set(['preflight']))].map(boundaryText);
    expect(effectsOf(put, wrote('ended', 'preflight'))).toEqual([]);
    const trial = [put, wrote('ended', 'preflight'), wrote('effect', 'published')];
    expect(effectsOf(...trial, put, wrote('ended', 'published'))).toEqual([
      'record:effect:published:1',
      'request:artifacts:PUT:/:name:2',
      'reply:artifacts:PUT:/:name:2',
      'record:ended:published:1',
    ]);
    // A command of the pipeline's own.
    expect(effectsOf(put, wrote('ended', 'uploads'))).toHaveLength(2);
    expect(effectsOf(put)).toHaveLength(2);
    expect(effectsOf(asked('POST /effects/:name'))).toHaveLength(2);
  });

  test.each([
    '',
    'request',
    'request:coordinator:GET:/x:0',
    'request:nobody:GET:/x:1',
    'request:coordinator:/x:1',
    'record:nothing:a:1',
    'record:ended::1',
    'record:ended:a',
    'reply:coordinator:GET:x:1',
  ])('%j is none', (text) => {
    expect(readBoundary(text)).toBeNull();
  });
});

describe('schedules', () => {
  const boundaries = boundariesOf(ROUND);

  test('the full list has every fault at every boundary that it can be placed at, once', () => {
    assert(
      property(traces, (trace) => {
        const all = boundariesOf(trace);
        const schedules = fullSchedules(all);
        const texts = schedules.map(scheduleText);
        expect(new Set(texts).size).toBe(texts.length);
        expect(texts).toHaveLength(all.reduce((sum, one) => sum + faultsAt(one).length, 0));
      }),
    );
  });

  test('the quick list has every fault at the effects, and each other step', () => {
    assert(
      property(traces, (trace) => {
        const all = boundariesOf(trace);
        const quick = new Set(quickSchedules(all).map(scheduleText));
        const full = new Set(fullSchedules(all).map(scheduleText));
        expect([...quick].filter((text) => !full.has(text))).toEqual([]);
        const atEffects = fullSchedules([...effectBoundaries(all)]);
        expect(atEffects.map(scheduleText).filter((text) => !quick.has(text))).toEqual([]);
        const steps = all.flatMap((one) =>
          one.kind === 'record' && one.record === 'ended' ? [one.path] : [],
        );
        for (const path of steps) {
          const placed = [...quick].filter((text) => text.includes(`@record:ended:${path}:`));
          expect(placed.length).toBeGreaterThan(0);
        }
      }),
    );
  });

  test('the quick list deals out the kinds of fault among steps', () => {
    const names = Array.from({ length: 10 }, (_, index) => `s${index}`);
    const quick = quickSchedules(boundariesOf(names.map((name) => wrote('ended', name))));
    expect(quick).toHaveLength(10);
    expect(new Set(quick.flat().map(({ fault }) => fault))).toEqual(
      new Set([
        'kill_worker',
        'restart_coordinator',
        'restart_server',
        'reset_run',
        'cancel_and_retry',
      ]),
    );
  });

  test('pairs are the same for the same seed, others for another, and never of one event', () => {
    const draw = (seed: string): string[] => pairSchedules(boundaries, 30, seed).map(scheduleText);
    expect(draw('one')).toHaveLength(30);
    expect(draw('one')).toEqual(draw('one'));
    expect(draw('one')).not.toEqual(draw('zwölf'));
    for (const schedule of pairSchedules(boundaries, 30, 'one')) {
      const [first, second] = schedule.map(({ boundary }) =>
        boundaryText(boundary).replace(/^reply/, 'request'),
      );
      expect(first).not.toBe(second);
    }
    expect(pairSchedules([], 30, 'one')).toEqual([]);
    expect(pairSchedules(boundaries.slice(0, 1), 30, 'one')).toEqual([]);
  });

  test('a text means the schedule that it was made of', () => {
    assert(
      property(traces, nat(20), (trace, seed) => {
        const all = boundariesOf(trace);
        const schedules = [...fullSchedules(all), ...pairSchedules(all, 5, String(seed))];
        for (const schedule of schedules)
          expect(readSchedule(scheduleText(schedule))).toEqual({ schedule });
      }),
    );
  });

  test.each([
    ['drop_reply', 'not FAULT@BOUNDARY'],
    ['drop_it@record:ended:a:1', 'no fault `drop_it`'],
    ['drop_reply@somewhere', 'no boundary'],
    ['drop_reply@request:coordinator:GET:/x:1', 'cannot be placed'],
    ['kill_worker@record:ended:a:1+', 'no boundary'],
  ])('of %j it says why it is none', (text, why) => {
    expect(readSchedule(text)).toEqual({ problem: expect.stringContaining(why) });
  });

  test('coverage counts boundaries, not faults', () => {
    const [first] = boundaries;
    const fired = fullSchedules(first === undefined ? [] : [first]).flat();
    expect(fired.length).toBeGreaterThan(1);
    const coverage = coverageOf(boundaries, fired);
    expect(coverage.find(({ kind }) => kind === 'request of a read')?.faulted).toBe(1);
    const counted = coverage.reduce((sum, { boundaries: count }) => sum + count, 0);
    expect(counted).toBe(boundaries.length);
    expect(coverage.reduce((sum, { faulted }) => sum + faulted, 0)).toBe(1);
  });
});

describe('faults', () => {
  test('every fault can be placed somewhere in a round', () => {
    const placed = new Set(
      fullSchedules(boundariesOf(ROUND))
        .flat()
        .map(({ fault }) => fault),
    );
    expect(FAULT_NAMES.filter((name) => !placed.has(name))).toEqual([]);
  });

  test('what waits for a look has one', () => {
    for (const boundary of boundariesOf(ROUND)) {
      if (FAULTS.delay_past_look.at(boundary)) expect(lookAfter(boundary)).not.toBeNull();
    }
  });
});

describe('shrinking', () => {
  const singles = fullSchedules(boundariesOf(ROUND)).slice(0, 5).flat();
  const failing =
    (...needed: readonly number[]) =>
    async (schedule: Schedule): Promise<boolean> =>
      needed.every((index) => schedule.some((one) => one === singles[index]));

  test('gives the smallest part that fails', async () => {
    for (let index = 0; index < 5; index += 1)
      expect(await shrinkSchedule(singles, failing(index))).toEqual([singles[index]]);
    expect(await shrinkSchedule(singles, failing(1, 3))).toEqual([singles[1], singles[3]]);
  });

  test('gives the whole where no part fails', async () => {
    expect(await shrinkSchedule(singles.slice(0, 2), failing(0, 1))).toEqual(singles.slice(0, 2));
  });

  test('does not play again what is known', async () => {
    const played: string[] = [];
    const known = new Map(
      singles.slice(0, 3).map((one, index) => [scheduleText([one]), index === 2]),
    );
    const found = await shrinkSchedule(
      singles.slice(0, 3),
      async (part) => {
        played.push(scheduleText(part));
        return false;
      },
      known,
    );
    expect(found).toEqual([singles[2]]);
    expect(played).toEqual([]);
  });
});
