/** How long a planned run takes, by what its steps took in past runs; and how long it leases devices. */
import { toPattern } from '../../core/plan-paths.js';
import { isToRun, type PlannedBlock, type PlannedStep } from './planned-step.js';

/** How long steps took that succeeded: their medians, by `timeKey`. */
export type PastTimes = ReadonlyMap<string, { readonly ms: number; readonly count: number }>;

/** Of a step in any item, by its type: a step that was made another one has no past. */
export function timeKey({ path, uses }: { readonly path: string; readonly uses: string }): string {
  return `${toPattern(path)} ${uses}`;
}

export interface ExpectedTime {
  /** Of what is known. Pauses count, waiting for people does not; conditions not known yet are taken to be true. */
  readonly ms: number;
  /** Paths of steps, or of blocks that run nobody knows how often, of which nothing is known. */
  readonly neverRan: readonly string[];
}

const NOTHING: ExpectedTime = { ms: 0, neverRan: [] };

export function expectedTime(steps: readonly PlannedStep[], past: PastTimes): ExpectedTime {
  return inSequence(steps.map((step) => timeOfStep(step, past)));
}

function timeOfStep(step: PlannedStep, past: PastTimes): ExpectedTime {
  if (!isToRun(step)) return NOTHING;
  const measured = past.get(timeKey(step));
  const whole =
    measured === undefined ? { ms: 0, neverRan: [step.path] } : { ms: measured.ms, neverRan: [] };
  switch (step.uses) {
    case 'approve':
    case 'stop':
      return NOTHING;
    case 'wait':
      return step.waitMs === undefined ? whole : { ms: step.waitMs, neverRan: [] };
    case 'if': {
      const branches = step.blocks.map((block) => timeOfBlock(block, past));
      return { ms: longest(branches), neverRan: branches.flatMap(({ neverRan }) => neverRan) };
    }
    default:
  }
  if (step.blocks.length === 0) return whole;
  const isCounted = step.blocks.every((block) => block.steps.every(({ times }) => times !== null));
  if (!isCounted) return whole;
  // What runs in place of a failure is not foreseen.
  const foreseen = step.blocks.filter(({ title }) => !title.startsWith('catch'));
  const { everyMs = 0 } = step.limits;
  return inSequence(foreseen.map((block) => timeOfBlock(block, past, everyMs)));
}

/** `everyMs` is the least time from one turn to the next. */
function timeOfBlock(
  { order, atOnce, steps }: PlannedBlock,
  past: PastTimes,
  everyMs = 0,
): ExpectedTime {
  const parts = steps.map((step) => ({ step, time: timeOfStep(step, past) }));
  const neverRan = parts.flatMap(({ time }) => time.neverRan);
  const room = order === 'parallel' ? (atOnce ?? steps.length) : 1;
  const [only] = parts;
  if (only !== undefined && parts.length === 1) {
    const turns = Math.ceil((only.step.times ?? 1) / Math.max(1, room));
    const { ms } = only.time;
    return { ms: turns === 0 ? 0 : ms + Math.max(ms, everyMs) * (turns - 1), neverRan };
  }
  return { ms: sideBySideMs(parts, Math.max(1, room)), neverRan };
}

/** Each begins when what it needs has ended and there is room, the first in the document first. */
function sideBySideMs(
  parts: ReadonlyArray<{ readonly step: PlannedStep; readonly time: ExpectedTime }>,
  room: number,
): number {
  const endsMs = new Map<string, number>();
  const waiting = new Set(parts);
  const open = new Set(parts.map(({ step }) => step.path));
  const places = Array.from({ length: Math.min(room, parts.length) }, () => 0);
  let lastMs = 0;
  while (waiting.size > 0) {
    // Of those whose needs are settled the one that can begin first.
    let next: { part: (typeof parts)[number]; fromMs: number } | null = null;
    for (const part of waiting) {
      const needed = part.step.needs ?? [];
      if (needed.some((path) => open.has(path))) continue;
      const fromMs = Math.max(0, ...needed.map((path) => endsMs.get(path) ?? 0));
      if (next === null || fromMs < next.fromMs) next = { part, fromMs };
    }
    if (next === null) break;
    const place = places.indexOf(Math.min(...places));
    const endMs = Math.max(next.fromMs, places[place] ?? 0) + next.part.time.ms;
    places[place] = endMs;
    endsMs.set(next.part.step.path, endMs);
    lastMs = Math.max(lastMs, endMs);
    waiting.delete(next.part);
    open.delete(next.part.step.path);
  }
  return lastMs;
}

function inSequence(times: readonly ExpectedTime[]): ExpectedTime {
  return {
    ms: times.reduce((sum, { ms }) => sum + ms, 0),
    neverRan: times.flatMap(({ neverRan }) => neverRan),
  };
}

function longest(times: readonly ExpectedTime[]): number {
  return Math.max(0, ...times.map(({ ms }) => ms));
}

export interface GpuHours {
  /** Null where a step that leases devices has never run, or runs nobody knows how often. */
  readonly expected: number | null;
  /** By the time limits; null where no limit says how often. */
  readonly atMost: number | null;
}

const HOUR_MS = 3_600_000;

export function gpuHours(steps: readonly PlannedStep[], past: PastTimes): GpuHours {
  let expected: number | null = 0;
  let atMost: number | null = 0;
  const visit = (list: readonly PlannedStep[], often: number | null, most: number | null): void => {
    for (const step of list) {
      if (!isToRun(step)) continue;
      if (step.gpus > 0) {
        const ms = past.get(timeKey(step))?.ms;
        const { timeoutMs = 0 } = step.limits;
        if (often !== 0)
          expected =
            expected === null || ms === undefined || often === null
              ? null
              : expected + (step.gpus * ms * often) / HOUR_MS;
        atMost =
          atMost === null || most === null
            ? null
            : atMost + (step.gpus * timeoutMs * most) / HOUR_MS;
      }
      for (const block of step.blocks) {
        for (const inner of block.steps) {
          const limit = inner.times ?? step.limits.iterations ?? null;
          // What runs in place of a failure is not foreseen, but it is within the limits.
          const foreseen = block.title.startsWith('catch') ? 0 : inner.times;
          visit([inner], product(often, foreseen), product(most, limit));
        }
      }
    }
  };
  visit(steps, 1, 1);
  return { expected, atMost };
}

function product(a: number | null, b: number | null): number | null {
  if (a === 0 || b === 0) return 0;
  return a === null || b === null ? null : a * b;
}
