// What the steps of the engine's benchmark do, the same for both: Adit's step types call these very functions.
import { setTimeout as sleep } from 'node:timers/promises';

let running = 0;

export async function noop({ value }) {
  return { value: value + 1 };
}

/** The moment of its first line, by the clock that all processes of a machine share. */
export async function mark({ value }) {
  const startedAt = String(process.hrtime.bigint());
  return { value: value + 1, startedAt };
}

/** Takes 100 ms, and tells how many of its kind ran in this worker when it began, itself included. */
export async function pause({ value }) {
  running += 1;
  const seen = running;
  await sleep(100);
  running -= 1;
  return { value, running: seen };
}
