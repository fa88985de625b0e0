/** The longest that steps can take, by what the file says: time limits, pauses, counts. People and devices are not in it. */
import { parseDuration } from '../core/duration.js';
import type { Template } from '../core/expression.js';
import type { ActivityStep, ParallelStep, PlanStep } from '../core/plan.js';

/** A pause before a try is up to a quarter longer than it says. */
const JITTER = 1.25;

/** Milliseconds, or the step of which it cannot be told. */
export type LongestTime = number | { readonly unclear: PlanStep };

const known = new WeakMap<PlanStep, LongestTime>();

/** The longest that a step or a block takes. */
export function longestTime(step: PlanStep): LongestTime {
  const before = known.get(step);
  if (before !== undefined) return before;
  const time = computeTime(step);
  known.set(step, time);
  return time;
}

function computeTime(step: PlanStep): LongestTime {
  switch (step.kind) {
    case 'step':
      return stepMs(step);
    case 'wait': {
      const ms = step.for === undefined ? null : durationOf(step.for);
      return ms ?? { unclear: step };
    }
    case 'if':
      return longest([inTurn(step.then), inTurn(step.else)]);
    case 'try': {
      const clauses = (step.catch ?? []).map(({ steps }) => inTurn(steps));
      const last = inTurn(step.finally);
      const { finallyTimeoutMs = Number.POSITIVE_INFINITY } = step;
      const most = typeof last === 'number' ? Math.min(last, finallyTimeoutMs) : last;
      return sum([inTurn(step.steps), longest(clauses), most]);
    }
    case 'parallel':
      return parallelTime(step);
    case 'foreach': {
      const items = step.items.op === 'list' ? step.items.items.length : null;
      return items === null
        ? { unclear: step }
        : times(inTurn(step.steps), Math.ceil(items / step.limit));
    }
    case 'repeat':
      return times(longest([inTurn(step.steps), step.everyMs ?? 0]), step.limit);
    case 'pipeline':
      return inTurn(step.called.steps);
    case 'approve':
    case 'stop':
      return 0;
  }
}

/** One after the other. */
function inTurn(steps: readonly PlanStep[]): LongestTime {
  return sum(steps.map(longestTime));
}

/** Of a program the limit is run time: pauses between its starts come on top. */
function stepMs({ program, options }: ActivityStep): number {
  const { attempts, firstMs, factor, mostMs } = options.retry;
  let pausesMs = 0;
  for (let pause = 0; program === true && pause < attempts - 1; pause += 1)
    pausesMs += Math.min(firstMs * factor ** pause, mostMs) * JITTER;
  return options.timeoutMs + pausesMs;
}

function parallelTime(step: ParallelStep): LongestTime {
  const { branches, limit } = step;
  const own = branches.map(({ step: branch }) => longestTime(branch));
  if (limit < branches.length || branches.length > MOST_BRANCHES) return sum(own);
  const endOf = endsOf(step);
  return longest(branches.map((_, at) => endOf(at)));
}

/** The longest from the beginning of a `parallel` to that of one of its branches. */
export function timeBefore(step: ParallelStep, at: number): LongestTime {
  const { branches, limit } = step;
  if (limit < branches.length || branches.length > MOST_BRANCHES)
    return sum(branches.flatMap((branch, other) => (other === at ? [] : longestTime(branch.step))));
  return longest((branches[at]?.needs ?? []).map(endsOf(step)));
}

/** When a branch ends at the latest, where there is room for all. */
function endsOf({ branches }: ParallelStep): (branch: number) => LongestTime {
  const ends = new Map<number, LongestTime>();
  // Needs make no circle; in the order of the file one may come before what it needs.
  const endOf = (at: number): LongestTime => {
    const before = ends.get(at);
    if (before !== undefined) return before;
    ends.set(at, 0);
    const branch = branches[at];
    const own = branch === undefined ? 0 : longestTime(branch.step);
    const end = sum([longest((branch?.needs ?? []).map(endOf)), own]);
    ends.set(at, end);
    return end;
  };
  return endOf;
}

/** Beyond this a chain of needs could be deeper than the stack; the sum is never too short. */
const MOST_BRANCHES = 1_000;

/** Milliseconds of a duration that is written out; null for any other value. */
export function durationOf(template: Template | undefined): number | null {
  return template?.t === 'value' && typeof template.value === 'string'
    ? parseDuration(template.value)
    : null;
}

export function sum(parts: readonly LongestTime[]): LongestTime {
  let total = 0;
  for (const time of parts) {
    if (typeof time !== 'number') return time;
    total += time;
  }
  return total;
}

function longest(ways: readonly LongestTime[]): LongestTime {
  let most = 0;
  for (const time of ways) {
    if (typeof time !== 'number') return time;
    most = Math.max(most, time);
  }
  return most;
}

function times(time: LongestTime, count: number): LongestTime {
  return typeof time === 'number' ? time * count : time;
}
