/**
 * What holds of every plan, whatever its steps return and however long they take: generated plans and outcomes, in
 * simulated time.
 */
import { array, assert, asyncProperty, nat, tuple } from 'fast-check';
import { expect, test } from 'vitest';
import { Cancelled, VirtualTime } from '../testing/virtual-time.js';
import { PlanDraw } from '../test/support/plan-draw.js';
import { toCarriedState } from './carried-state.js';
import { interpret } from './interpreter.js';
import { innerBlocks } from './inner-blocks.js';
import type { Plan, PlanStep } from './plan.js';
import type { Powers, StepDecision, StepOutcome, StepRequest } from './powers.js';
import type { RunResult, RunState, StepState } from './run-state.js';

const STARTS_AT = Date.parse('2026-01-01T00:00:00Z');

/** More of them, for a longer look: ADIT_PROPERTY_RUNS. */
const RUNS = Number(process.env['ADIT_PROPERTY_RUNS'] ?? 60);

interface Start {
  readonly path: string;
  readonly start: number;
  readonly atMs: number;
}

interface Course {
  readonly result: RunResult | 'cancelled';
  readonly starts: readonly Start[];
  /** After each change, with the moment, and how many starts there had been. */
  readonly states: ReadonlyArray<{ state: RunState; atMs: number; starts: number }>;
  /** What failed or stopped, in that order, by path, with the moment; also in a part. */
  readonly failedAtMs: ReadonlyMap<string, number>;
}

/** What a start returns and when: the same for the same start, wherever the run goes on from. */
class Outcomes {
  readonly #seed: number;
  readonly #areGood: boolean;
  /** When a start that was begun once ends, by path and number. */
  readonly #ends = new Map<string, number>();

  /** Without a seed all is well. */
  constructor(seed: number | null) {
    this.#seed = seed ?? 0;
    this.#areGood = seed === null;
  }

  endMs({ path, start }: StepRequest, nowMs: number): number {
    const key = `${path}~${start}`;
    const endMs = this.#ends.get(key) ?? nowMs + 1 + (this.#hash(key) % 2_000_003);
    this.#ends.set(key, endMs);
    return Math.max(endMs, nowMs);
  }

  of({ path, start }: StepRequest): StepOutcome {
    const key = `${path}~${start}`;
    const failure = (code: string, retryable: boolean): StepOutcome => ({
      kind: 'failed',
      error: { code, message: key },
      retryable,
    });
    switch (this.#areGood ? 3 : this.#hash(`${key}?`) % 12) {
      case 0:
        return failure('DISK_FULL', false);
      case 1:
        return failure('COORDINATOR_UNAVAILABLE', true);
      case 2:
        return failure(this.#hash(key) % 3 === 0 ? 'GATE_NOT_PASSED' : 'PROGRAM_FAILED', true);
      default:
        return { kind: 'succeeded', outputs: { key } };
    }
  }

  decision(path: string): StepDecision {
    const actions = [{ action: 'retry' }, { action: 'fail' }, { action: 'value', outputs: {} }];
    return actions[this.#hash(path) % 3] as StepDecision;
  }

  decidedMs(path: string, nowMs: number): number {
    const key = `${path}!`;
    const endMs = this.#ends.get(key) ?? nowMs + 1 + (this.#hash(key) % 2_000_003);
    this.#ends.set(key, endMs);
    return Math.max(endMs, nowMs);
  }

  #hash(text: string): number {
    let hash = this.#seed ^ 0x811c9dc5;
    for (const char of text) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    return (hash ^ (hash >>> 13)) >>> 0;
  }
}

interface RunOptions {
  readonly from?: { readonly state: RunState; readonly atMs: number };
  readonly cancelAtMs?: number;
  readonly hasManyTurns?: boolean;
  /** Asked between two turns of a block: whether the rest of it goes on as a part. */
  readonly moves?: (path: string) => boolean;
  /** Asked when a start begins, with what is running then. */
  readonly onStart?: (
    start: Start,
    running: ReadonlySet<string>,
    states: ReadonlyMap<string, StepState>,
  ) => void;
}

async function run(
  plan: Plan,
  outcomes: Outcomes,
  { from, cancelAtMs, onStart, moves, hasManyTurns }: RunOptions = {},
): Promise<Course> {
  const time = new VirtualTime(from?.atMs ?? STARTS_AT);
  const starts: Start[] = [];
  const states: Array<{ state: RunState; atMs: number; starts: number }> = [];
  const failedAtMs = new Map<string, number>();
  const running = new Set<string>();
  let steps: ReadonlyMap<string, StepState> = new Map();
  const until = <T>(atMs: number, value: () => T): Promise<T> =>
    time.wait<T>((resolve) => time.after(atMs - time.nowMs, () => resolve(value())));
  const ids = { runId: 'r', roundId: 'r', ...(hasManyTurns === true ? { hasManyTurns } : {}) };
  const powers: Powers = {
    runStep: async (request) => {
      time.interrupt();
      const start = { path: request.path, start: request.start, atMs: time.nowMs };
      onStart?.(start, running, steps);
      starts.push(start);
      if (starts.length > 2_000) throw new Error('The run goes round in circles.');
      running.add(request.path);
      try {
        return await until(outcomes.endMs(request, time.nowMs), () => outcomes.of(request));
      } finally {
        running.delete(request.path);
      }
    },
    decide: (path) => {
      time.interrupt();
      return until(outcomes.decidedMs(path, time.nowMs), () => outcomes.decision(path));
    },
    approve: async ({ path }) => {
      throw new Error(`Nobody approves ${path}.`);
    },
    sleep: (ms) => time.sleep(ms),
    now: () => time.nowMs,
    random: () => 0.5,
    isCancellation: (error) => error instanceof Cancelled,
    shielded: (body) => time.shielded(body),
    scoped: (body) => time.scoped(body),
    changed: (current) => {
      steps = current;
      for (const [path, { status }] of current) {
        const isNew = (status === 'failed' || status === 'stopped') && !failedAtMs.has(path);
        if (isNew) failedAtMs.set(path, time.nowMs);
      }
      if (states.length > 5_000) throw new Error('The run goes round in circles.');
      states.push({
        state: { steps: Object.fromEntries(current) },
        atMs: time.nowMs,
        starts: starts.length,
      });
    },
  };
  /** `own`: the block that the part is, which does not move again. */
  const powersIn = (own: string | null): Powers =>
    moves === undefined
      ? powers
      : {
          ...powers,
          movesOut: (path) => path !== own && moves(path),
          runPart: async ({ path, plan: part, steps: known, frame }) => {
            const { irVersion, network } = plan;
            const prefix = path.slice(0, path.lastIndexOf('/') + 1);
            if (frame === undefined) throw new Error('No plan of these calls another.');
            return interpret(
              { irVersion, network, ...part },
              { steps: known },
              { ...ids, prefix, frame },
              powersIn(path),
            );
          },
        };
  const work = interpret(plan, from?.state ?? { steps: {} }, ids, powersIn(null));
  if (cancelAtMs !== undefined) time.after(cancelAtMs, () => time.cancelRun());
  let result: RunResult | 'cancelled' | undefined;
  const ended = work.then(
    (end) => {
      result = end;
    },
    (error: unknown) => {
      if (!(error instanceof Cancelled)) throw error;
      result = 'cancelled';
    },
  );
  expect(await time.pass(ended)).toBe(true);
  await ended;
  if (result === undefined) throw new Error('The run has no end.');
  return { result, starts, states, failedAtMs };
}

/** Moments of one run from which it goes on. */
const MOST_STATES = 6;

/** Those in which all that follows from an event at once has happened: a history ends at no other. */
const settledStates = ({ states }: Course): Course['states'] =>
  states.filter(({ atMs }, index) => states[index + 1]?.atMs !== atMs);

const endings = (state: RunState): { [path: string]: string } =>
  Object.fromEntries(Object.entries(state.steps).map(([path, { status }]) => [path, status]));

const nameOf = ({ path, start }: Start): string => `${path}~${start}`;

const arbitrary = tuple(array(nat(1_000), { minLength: 12, maxLength: 60 }), nat(1_000_000));

test('a run that goes on from the state after any event ends as the one that was not interrupted', async () => {
  let resumed = 0;
  await assert(
    asyncProperty(arbitrary, async ([numbers, seed]) => {
      const plan = new PlanDraw(numbers).plan();
      const outcomes = new Outcomes(seed);
      const whole = await run(plan, outcomes);
      const all = whole.starts.map(nameOf);
      const last = whole.states.at(-1)?.state ?? { steps: {} };
      const settled = settledStates(whole);
      const stride = Math.ceil(settled.length / MOST_STATES);
      for (let at = seed % stride; at < settled.length; at += stride) {
        const { state, atMs, starts } = settled[at] ?? { state: last, atMs: 0, starts: 0 };
        for (const carried of [false, true]) {
          const from = { state: carried ? toCarriedState(state) : state, atMs };
          const rest = await run(plan, outcomes, { from });
          resumed += 1;
          expect(rest.result).toEqual(whole.result);
          const begun = rest.starts.map(nameOf);
          // What had ended is not begun again, and all that had not begun is, at the same moment.
          for (const start of whole.starts.slice(starts)) expect(rest.starts).toContainEqual(start);
          for (const name of begun) expect(all).toContain(name);
          for (const { path, start } of rest.starts) {
            const before = state.steps[path];
            if (before === undefined || before.attempts < start) continue;
            expect(before.status).toBe('running');
            expect(before.error).toBeUndefined();
          }
          const end = rest.states.at(-1)?.state ?? from.state;
          if (carried) expect(endings(last)).toMatchObject(endings(end));
          else expect(endings(end)).toEqual(endings(last));
        }
      }
    }),
    { numRuns: RUNS },
  );
  expect(resumed).toBeGreaterThan(300);
});

test('a run from before, with more turns of promises, ends as one of today', async () => {
  await assert(
    asyncProperty(arbitrary, async ([numbers, seed]) => {
      const plan = new PlanDraw(numbers).plan();
      const [today, before] = [
        await run(plan, new Outcomes(seed)),
        await run(plan, new Outcomes(seed), { hasManyTurns: true }),
      ];
      expect(before.result).toEqual(today.result);
      expect(before.states.at(-1)).toEqual(today.states.at(-1));
    }),
    { numRuns: RUNS },
  );
});

/** Every block of a plan by its path, with `#*` for each item. */
function blocksOf(plan: Plan): Map<string, PlanStep> {
  const blocks = new Map<string, PlanStep>();
  const collect = (steps: readonly PlanStep[], prefix: string): void => {
    for (const one of steps) {
      const path = `${prefix}${one.key}`;
      blocks.set(path, one);
      for (const { steps: inner, infix } of innerBlocks(one)) collect(inner, `${path}${infix}`);
    }
  };
  collect(plan.steps, '');
  return blocks;
}

const pattern = (path: string): string => path.replace(/#\d+/g, '#*');

/** Each block around a step, outermost first: its path, and the part of it that the step is in. */
function around(path: string): Array<{ block: string; part: string }> {
  return [...path.matchAll(/#\d+\/|\//g)].map((match) => {
    const block = path.slice(0, match.index);
    const end = path.slice(match.index + match[0].length).search(/#\d+\/|\//);
    const from = match.index + match[0].length;
    const part =
      match[0] === '/'
        ? path.slice(0, end === -1 ? undefined : from + end)
        : path.slice(0, from - 1);
    return { block, part };
  });
}

test('no limit is exceeded, nothing starts before what it needs, and all starts in the order of the file', async () => {
  let started = 0;
  await assert(
    asyncProperty(arbitrary, async ([numbers, seed]) => {
      const plan = new PlanDraw(numbers).plan();
      const blocks = blocksOf(plan);
      const onStart: RunOptions['onStart'] = ({ path }, running, states) => {
        started += 1;
        for (const { block, part } of around(path)) {
          const of = blocks.get(pattern(block));
          if (of?.kind === 'foreach' || of?.kind === 'parallel') {
            const parts = new Set(
              [...running, path].flatMap((other) =>
                around(other).flatMap((one) => (one.block === block ? [one.part] : [])),
              ),
            );
            expect(parts.size).toBeLessThanOrEqual(of.limit);
          }
          if (of?.kind === 'foreach' || of?.kind === 'repeat') {
            const number = Number(/#(\d+)$/.exec(part)?.[1] ?? 0);
            for (let before = 0; before < number; before += 1)
              expect(states.has(`${block}#${before}`)).toBe(true);
          }
          if (of?.kind === 'parallel') {
            const endedWell = (at: number): boolean =>
              ['succeeded', 'skipped'].includes(
                states.get(`${block}/${of.branches[at]?.step.key}`)?.status ?? '',
              );
            const at = of.branches.findIndex(({ step: { key } }) => `${block}/${key}` === part);
            expect(of.branches[at]?.needs.every(endedWell)).toBe(true);
            // There was room when this branch began: it was for the first that could start then. What ended at that
            // very moment may let its branch start a moment later.
            const begunAt = states.get(part)?.startedAt ?? '';
            const hadEnded = (needed: number): boolean =>
              (states.get(`${block}/${of.branches[needed]?.step.key}`)?.endedAt ?? begunAt) <
              begunAt;
            of.branches.slice(0, at).forEach(({ step: { key }, needs }) => {
              if (!needs.every((needed) => endedWell(needed) && hadEnded(needed))) return;
              const before = states.get(`${block}/${key}`);
              expect(before).toBeDefined();
              // Times in a state can be compared as they are written; what was skipped has none.
              expect((before?.startedAt ?? '') <= begunAt).toBe(true);
            });
          }
        }
      };
      const { result } = await run(plan, new Outcomes(seed), { onStart });
      expect(result).not.toBe('cancelled');
    }),
    { numRuns: 2 * RUNS },
  );
  expect(started).toBeGreaterThan(RUNS);
});

test('every `finally` whose `try` has begun runs, and shows its end, also when the run is cancelled', async () => {
  const runs = { cancelled: 0, finals: 0 };
  await assert(
    asyncProperty(arbitrary, nat(4_000_000), async ([numbers, seed], cancelAtMs) => {
      const plan = new PlanDraw(numbers).plan();
      const { result, states } = await run(plan, new Outcomes(seed), { cancelAtMs });
      if (result === 'cancelled') runs.cancelled += 1;
      const { steps } = states.at(-1)?.state ?? { steps: {} };
      const blocks = blocksOf(plan);
      for (const [path, { status }] of Object.entries(steps)) {
        expect(['succeeded', 'failed', 'stopped', 'cancelled', 'skipped']).toContain(status);
        const block = blocks.get(pattern(path));
        if (block?.kind !== 'try' || status === 'skipped') continue;
        runs.finals += 1;
        // One behind the other: the first has begun, and one that has not stands behind one that did not end well.
        const ends = block.finally.map(({ key }) => steps[`${path}/finally/${key}`]?.status);
        expect(ends[0]).toBeDefined();
        const broke = ends.findIndex((end) => end !== 'succeeded' && end !== 'skipped');
        if (broke !== -1) expect(['failed', 'stopped']).toContain(ends[broke]);
      }
    }),
    { numRuns: 2 * RUNS },
  );
  expect(runs.cancelled).toBeGreaterThan(RUNS / 4);
  expect(runs.finals).toBeGreaterThan(RUNS / 4);
});

test('a block of which the rest goes on as a part ends as in its place', async () => {
  const moved = { foreach: 0, repeat: 0 };
  let ties = 0;
  await assert(
    asyncProperty(arbitrary, nat(1_000), async ([numbers, seed], choice) => {
      const plan = new PlanDraw(numbers).plan();
      const blocks = blocksOf(plan);
      let asked = 0;
      const movesOf =
        (kinds: readonly string[]) =>
        (path: string): boolean => {
          const kind = blocks.get(pattern(path))?.kind;
          const isMoved = (choice + 7 * (asked += 1)) % 3 === 0 && kinds.includes(kind ?? '');
          if (isMoved && (kind === 'foreach' || kind === 'repeat')) moved[kind] += 1;
          return isMoved;
        };
      // Iterations come one after the other: nothing of them is later than in its place.
      const whole = await run(plan, new Outcomes(seed));
      const apart = await run(plan, new Outcomes(seed), { moves: movesOf(['repeat']) });
      const tieMs = tiedAtMs(whole, apart, blocks);
      if (tieMs === null) expect(apart.result).toEqual(whole.result);
      else ties += 1;
      const startsOf = ({ starts }: Course): Start[] =>
        starts.filter(({ atMs }) => atMs < (tieMs ?? Infinity)).toSorted(byMoment);
      expect(startsOf(apart)).toEqual(startsOf(whole));
      // Items under way are waited for, so what comes first may be another: where all is well it must not matter.
      const good = await run(plan, new Outcomes(null));
      if (good.result === 'cancelled' || good.result.status !== 'succeeded') return;
      const goodApart = await run(plan, new Outcomes(null), {
        moves: movesOf(['foreach', 'repeat']),
      });
      expect(goodApart.result).toEqual(good.result);
      expect(goodApart.starts.map(nameOf).toSorted()).toEqual(good.starts.map(nameOf).toSorted());
    }),
    { numRuns: 4 * RUNS },
  );
  expect(moved.repeat).toBeGreaterThan(RUNS / 20);
  expect(moved.foreach).toBeGreaterThan(RUNS / 20);
  expect(ties).toBeLessThanOrEqual(Math.ceil(RUNS / 100));
});

/**
 * The moment, when the first difference between the failures of two runs is that of several parts of a block, which
 * failed within the same millisecond, another one was the first; else null. Which one it is nobody promises: a part
 * of the run needs some turns more to say so.
 */
function tiedAtMs(
  one: Course,
  other: Course,
  blocks: ReadonlyMap<string, PlanStep>,
): number | null {
  const [here, there] = [[...one.failedAtMs], [...other.failedAtMs]];
  const at = here.findIndex(
    ([path, atMs], index) => path !== there[index]?.[0] || atMs !== there[index][1],
  );
  const [path = '', atMs] = here[at] ?? [];
  const [rival = '', rivalAtMs] = there[at] ?? [];
  const isTie = atMs === rivalAtMs && areSideBySide(path, rival, blocks);
  return isTie ? (atMs ?? null) : null;
}

/** True for what is in, or is, different parts of a block that may run side by side. */
function areSideBySide(
  path: string,
  rival: string,
  blocks: ReadonlyMap<string, PlanStep>,
): boolean {
  const partsOf = (of: string): ReturnType<typeof around> =>
    around(`${of}/`).filter(({ block, part }) => {
      const kind = blocks.get(pattern(block))?.kind;
      return !part.endsWith('/') && (kind === 'foreach' || kind === 'parallel');
    });
  return partsOf(path).some((mine) =>
    partsOf(rival).some(({ block, part }) => block === mine.block && part !== mine.part),
  );
}

function byMoment(a: Start, b: Start): number {
  return a.atMs - b.atMs || nameOf(a).localeCompare(nameOf(b));
}
