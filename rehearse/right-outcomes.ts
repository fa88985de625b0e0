/**
 * Which outcomes are right after each class of fault, measured against the run without one. This table is what a
 * rehearsal promises: change it only after a review, with the reason in `why`.
 */
import { isOfCommand } from './boundary.js';
import type { FaultClass } from './fault.js';
import { FAULTS } from './fault.js';
import type { RunEnd, RunFacts } from './facts.js';
import type { Violation } from './invariants.js';
import type { Placement, Schedule } from './schedule.js';

interface RightOutcome {
  /** Ends that are right besides that of the run without a fault. */
  readonly ends: readonly RunEnd[];
  /** Ends that are right too where the fault met a request of the pipeline's own command. */
  readonly commandEnds?: readonly RunEnd[];
  /**
   * Most starts of programs beyond those of the run without a fault, where those that failed by themselves do not
   * count; null: as many as it takes.
   */
  readonly moreStarts: number | null;
  /** Most claims beyond those of the run without a fault. */
  readonly moreClaims: number;
  readonly why: string;
}

const failed = (code: string): RunEnd => ({ status: 'failed', code });

/** Of a program that has ended with another status than 0, and whose step has no tries left. */
const COMMAND_FAILED = failed('PROGRAM_FAILED');

export const RIGHT_OUTCOMES: { readonly [C in FaultClass]: RightOutcome } = {
  lost: {
    ends: [],
    commandEnds: [COMMAND_FAILED],
    moreStarts: 0,
    moreClaims: 0,
    why: 'What was lost is looked up, and only what is certainly not there is done again. A command that asks the other side itself is not looked after: it may have no tries left.',
  },
  refused: {
    ends: [],
    commandEnds: [COMMAND_FAILED],
    moreStarts: 0,
    moreClaims: 0,
    why: 'Nothing was done: it is asked again later. A command does so within the tries of its step only.',
  },
  ended: {
    ends: [],
    moreStarts: 0,
    moreClaims: 0,
    why: 'Programs outlive a worker; the next one finds them, and looks up what was sent.',
  },
  host: {
    ends: [],
    moreStarts: 1,
    moreClaims: 0,
    why: 'A program that runs goes on without its host. One that waits for the word to begin never ran: it has a start on the disk, and the next one runs. At most one program waits for the word of a host, so that one more start is all.',
  },
  program: {
    ends: [COMMAND_FAILED],
    moreStarts: 1,
    moreClaims: 0,
    why: 'It starts again if its step has tries left, from its checkpoint; else the run fails before it claims.',
  },
  restarted: {
    ends: [],
    commandEnds: [COMMAND_FAILED],
    moreStarts: 0,
    moreClaims: 0,
    why: 'The other side has kept what it stored; a request under way counts as lost, that of a command too.',
  },
  late: {
    ends: [],
    moreStarts: 0,
    moreClaims: 0,
    why: 'A minute is less than any of the time limits here.',
  },
  expired: {
    ends: [failed('CLAIM_EXPIRED'), failed('CLAIM_NOT_ACTIVE')],
    moreStarts: 0,
    moreClaims: 0,
    why: 'A claim that ran out before it was used is not submitted on, and no other one is made behind its back.',
  },
  rewound: {
    ends: [],
    moreStarts: 0,
    moreClaims: 0,
    why: 'What the run has done is found again by its key; a program that still runs is adopted.',
  },
  again: {
    ends: [],
    moreStarts: null,
    moreClaims: 1,
    why: 'A cancelled run gives its claim back and ends its programs; the next one claims anew, and never submits twice.',
  },
};

/** Names of the rules by which an outcome is compared with that of the run without a fault. */
export const OUTCOME_RULES = [
  'right_end',
  'right_submissions',
  'right_claims',
  'right_starts',
  'right_effects',
] as const;

/** What is wrong with the outcome of a run, by the table. `without` is the run without a fault. */
export function checkOutcome(facts: RunFacts, without: RunFacts, schedule: Schedule): Violation[] {
  const rows = schedule.map(rowOf);
  return [
    ...checkEnd(facts, without, rows),
    ...checkSubmissions(facts, without),
    ...checkClaims(facts, without, rows),
    ...checkStarts(facts, without, rows),
    ...checkCounted(facts, without),
  ];
}

function rowOf({ fault, boundary }: Placement): RightOutcome {
  const row: RightOutcome = RIGHT_OUTCOMES[FAULTS[fault].class];
  return isOfCommand(boundary) ? { ...row, ends: [...row.ends, ...(row.commandEnds ?? [])] } : row;
}

type Rows = readonly RightOutcome[];

function checkEnd(facts: RunFacts, without: RunFacts, rows: Rows): Violation[] {
  // The invariant that a run ends says it already.
  if (facts.end === null || without.end === null || sameEnd(facts.end, without.end)) return [];
  const { end } = facts;
  if (rows.some(({ ends }) => ends.some((one) => sameEnd(end, one)))) return [];
  const message = `The run ended as ${endText(end)}; without a fault it is ${endText(without.end)}.`;
  return [{ rule: 'right_end', message }];
}

function checkSubmissions(facts: RunFacts, without: RunFacts): Violation[] {
  const made = facts.submissions.length;
  const right = without.submissions.length;
  const ended = facts.end !== null && without.end !== null && sameEnd(facts.end, without.end);
  if (made === right || (!ended && made < right)) return [];
  return [
    { rule: 'right_submissions', message: `There are ${made} submissions; right is ${right}.` },
  ];
}

function checkClaims(facts: RunFacts, without: RunFacts, rows: Rows): Violation[] {
  const most = without.claims.length + rows.reduce((sum, { moreClaims }) => sum + moreClaims, 0);
  if (facts.claims.length <= most) return [];
  const message = `There are ${facts.claims.length} claims; right are at most ${most}.`;
  return [{ rule: 'right_claims', message }];
}

function checkStarts(facts: RunFacts, without: RunFacts, rows: Rows): Violation[] {
  if (rows.some(({ moreStarts }) => moreStarts === null)) return [];
  const more = rows.reduce((sum, { moreStarts }) => sum + (moreStarts ?? 0), 0);
  const most = countStarts(without) + more;
  const starts = countStarts(facts);
  if (starts <= most) return [];
  const message = `Programs that did not fail were started ${starts} times; right is at most ${most}.`;
  return [{ rule: 'right_starts', message }];
}

/** Of what the pipeline's own commands have done: as many names. That one was done twice is said by `acts_once`. */
function checkCounted(facts: RunFacts, without: RunFacts): Violation[] {
  const done = Object.keys(facts.counted).length;
  const right = Object.keys(without.counted).length;
  const ended = facts.end !== null && without.end !== null && sameEnd(facts.end, without.end);
  if (done === right || (!ended && done < right)) return [];
  return [{ rule: 'right_effects', message: `${done} things were done; right is ${right}.` }];
}

function countStarts({ programs }: RunFacts): number {
  return programs.filter(({ failed: hasFailed }) => !hasFailed).length;
}

function sameEnd(one: RunEnd, other: RunEnd): boolean {
  return one.status === other.status && one.code === other.code;
}

function endText({ status, code }: RunEnd): string {
  return code === null ? status : `${status} (${code})`;
}
