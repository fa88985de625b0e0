/** What comes before the first effect of a run: a fault behind it leaves that part as it is. */
import { boundariesOf, boundaryText, type TraceEvent } from './boundary.js';
import type { Schedule } from './schedule.js';

/**
 * How many events of a trace are over when the last of the steps has ended; 0 where one of them has not ended.
 */
export function prefixLength(trace: readonly TraceEvent[], steps: readonly string[]): number {
  const ends = steps.map((path) =>
    trace.findLastIndex(
      (event) => event.kind === 'record' && event.record === 'ended' && event.path === path,
    ),
  );
  return ends.includes(-1) ? 0 : Math.max(-1, ...ends) + 1;
}

/** True where every fault of the schedule comes after these events. */
export function isBehind(schedule: Schedule, prefix: readonly TraceEvent[]): boolean {
  const before = new Set(boundariesOf(prefix).map(boundaryText));
  return (
    schedule.length > 0 && schedule.every(({ boundary }) => !before.has(boundaryText(boundary)))
  );
}

/** True where two traces show the same boundaries. */
export function hasSameBoundaries(
  one: readonly TraceEvent[],
  other: readonly TraceEvent[],
): boolean {
  const sorted = (trace: readonly TraceEvent[]): string =>
    boundariesOf(trace).map(boundaryText).sort().join('\n');
  return sorted(one) === sorted(other);
}
