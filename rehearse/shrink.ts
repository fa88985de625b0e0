import { scheduleText, type Schedule } from './schedule.js';

/** Most parts that are tried of one schedule: each is a whole run. */
const MOST_TRIES = 40;

/**
 * The shortest part of a failing schedule that fails as well: fewer faults, the earlier ones first. `fails` plays one;
 * what is `known` already is not played again. Gives the schedule itself where no part fails.
 */
export async function shrinkSchedule(
  schedule: Schedule,
  fails: (part: Schedule) => Promise<boolean>,
  known: ReadonlyMap<string, boolean> = new Map(),
): Promise<Schedule> {
  let tries = 0;
  for (let size = 1; size < schedule.length; size += 1) {
    for (const part of partsOf(schedule, size)) {
      const before = known.get(scheduleText(part));
      if (before === undefined && (tries += 1) > MOST_TRIES) return schedule;
      if (before ?? (await fails(part))) return part;
    }
  }
  return schedule;
}

/** All parts of a length, in the order of their places. */
function partsOf(schedule: Schedule, size: number): Schedule[] {
  if (size === 0) return [[]];
  return schedule.flatMap((first, index) =>
    partsOf(schedule.slice(index + 1), size - 1).map((rest) => [first, ...rest]),
  );
}
