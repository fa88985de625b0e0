/** Plays many schedules, side by side where they do not meet, judges each, and makes what fails as short as it can be. */
import { errorMessage } from '../../core/error.js';
import { checkInvariants, type Violation } from '../../rehearse/invariants.js';
import { checkOutcome } from '../../rehearse/right-outcomes.js';
import { scheduleText, type Placement, type Schedule } from '../../rehearse/schedule.js';
import { shrinkSchedule } from '../../rehearse/shrink.js';
import { settleAll } from '../settle-all.js';
import type { Played } from './play.js';

/**
 * - `right`: each of its faults has happened, and the outcome is one of the right ones. `wrong`: it is not.
 * - `missed`: a fault has not happened, so the run proves nothing; what is wrong with it all the same counts.
 * - `broken`: it could not be played.
 */
type Verdict = 'right' | 'wrong' | 'missed' | 'broken';

export interface Judged {
  readonly schedule: Schedule;
  readonly verdict: Verdict;
  readonly fired: readonly Placement[];
  readonly violations: readonly Violation[];
  /** Why it is broken; null when it is not. */
  readonly problem: string | null;
  readonly tookMs: number;
}

export interface Failure {
  readonly judged: Judged;
  /** The shortest part of the schedule that fails too. */
  readonly shortest: Schedule;
}

interface SweepOptions {
  /** The run without a fault that a schedule's run is compared with. */
  readonly without: (schedule: Schedule) => Played;
  readonly play: (schedule: Schedule) => Promise<Played>;
  /** How many are played at one time. */
  readonly jobs: number;
  readonly onJudged: (judged: Judged, done: number, total: number) => void;
  readonly signal: AbortSignal;
}

export async function sweep(
  schedules: readonly Schedule[],
  options: SweepOptions,
): Promise<{ readonly judged: readonly Judged[]; readonly failures: readonly Failure[] }> {
  const judged: Judged[] = [];
  const known = new Map<string, boolean>();
  const playOne = async (schedule: Schedule): Promise<Judged> => {
    const one = await judge(schedule, options);
    known.set(scheduleText(schedule), one.verdict === 'wrong');
    return one;
  };
  const inLane = async (queue: Schedule[]): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const one = await playOne(next);
      judged.push(one);
      options.onJudged(one, judged.length, schedules.length);
    }
  };
  const others = schedules.filter((one) => !killsServer(one));
  const killers = schedules.filter(killsServer);
  // Those that kill the server have one of their own, and one lane: each is alone with it.
  const lanes = Array.from({ length: options.jobs }, async (_, lane) => {
    if (lane === 0) await inLane(killers);
    await inLane(others);
  });
  // All of them: one that is interrupted must not leave another to end what it has started.
  await settleAll(lanes);
  const failures: Failure[] = [];
  for (const one of judged.filter(({ verdict }) => verdict === 'wrong')) {
    const fails = async (part: Schedule): Promise<boolean> =>
      (await playOne(part)).verdict === 'wrong';
    failures.push({ judged: one, shortest: await shrinkSchedule(one.schedule, fails, known) });
  }
  return { judged, failures };
}

/** True where the Temporal server is killed: no other run may go on at it. */
export function killsServer(schedule: Schedule): boolean {
  return schedule.some(({ fault }) => fault === 'restart_server');
}

async function judge(schedule: Schedule, options: SweepOptions): Promise<Judged> {
  const beganMs = performance.now();
  try {
    const played = await options.play(schedule);
    const violations = violationsOf(played, options.without(schedule), schedule);
    const { fired, tookMs } = played;
    const missed = fired.length < schedule.length;
    const verdict = violations.length > 0 ? 'wrong' : missed ? 'missed' : 'right';
    return { schedule, verdict, fired, violations, problem: null, tookMs };
  } catch (error) {
    options.signal.throwIfAborted();
    const tookMs = performance.now() - beganMs;
    const problem = errorMessage(error);
    return { schedule, verdict: 'broken', fired: [], violations: [], problem, tookMs };
  }
}

/** All that is wrong with a run; `without` is the one without a fault. */
function violationsOf(played: Played, without: Played, schedule: Schedule): Violation[] {
  const { facts, broken, openBecause } = played;
  const found = [
    ...checkInvariants(facts),
    ...checkOutcome(facts, without.facts, schedule),
    ...broken,
  ];
  return found.map((violation) =>
    violation.rule === 'ended' && openBecause !== null
      ? { ...violation, message: `The run did not end: ${openBecause}.` }
      : violation,
  );
}
