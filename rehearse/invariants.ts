/** What holds of every run, whatever goes wrong in it: pure functions over what is known when it is over. */
import type { ProgramFact, RunFacts } from './facts.js';

export interface Violation {
  /** Name of the rule; public: a message and a report name it. */
  readonly rule: string;
  readonly message: string;
}

type Rule = (facts: RunFacts) => readonly string[];

export const INVARIANTS = {
  ended: ({ end }) => (end === null ? ['The run did not end.'] : []),

  one_submission: ({ submissions }) => {
    const byKey = groupBy(submissions, ({ effectKey }) => effectKey ?? 'no effect of the round');
    return byKey.flatMap(([key, made]) =>
      made.length > 1
        ? [
            `There are ${made.length} submissions of ${key}: ${made.map(({ id }) => id).join(', ')}.`,
          ]
        : [],
    );
  },

  acts_once: ({ counted }) =>
    Object.entries(counted).flatMap(([name, times]) =>
      times > 1 ? [`\`${name}\` was done ${times} times.`] : [],
    ),

  gated: ({ submissions }) =>
    submissions.flatMap(({ id, passed }) =>
      passed ? [] : [`The submission ${id} was made without a PASS of the evidence gate.`],
    ),

  claims_settled: ({ claims, effects }) => {
    const unknown = effects.some(({ settled }) => !settled);
    return claims.flatMap(({ id, status, expiresAt }) => {
      if (status !== 'active') return [];
      if (!unknown) return [`The claim ${id} is still active.`];
      return expiresAt === null ? [`The claim ${id} is still active, and never runs out.`] : [];
    });
  },

  no_alarm: ({ effects }) =>
    effects.flatMap(({ stepPath, alarms }) => alarms.map((alarm) => `${stepPath}: ${alarm}`)),

  no_overlap: ({ programs }) =>
    groupBy(programs, ({ stepPath }) => stepPath).flatMap(([path, starts]) =>
      overlap(starts) ? [`Two programs of ${path} ran at one time.`] : [],
    ),

  nothing_left: ({ end, left }) =>
    end !== null && left > 0
      ? [`The run has ended, and ${left === 1 ? 'a program goes' : `${left} programs go`} on.`]
      : [],

  finally_ran: ({ end, steps }) => {
    if (end === null) return [];
    return [...finallyBlocks(steps)].flatMap(([block, inside]) => {
      if (!inside.began) return [];
      return inside.unfinished.map((path) => `${path} did not run, although ${block} had begun.`);
    });
  },
} as const satisfies { readonly [rule: string]: Rule };

/** Every violation of a built-in rule. */
export function checkInvariants(facts: RunFacts): Violation[] {
  return Object.entries<Rule>(INVARIANTS).flatMap(([rule, check]) =>
    check(facts).map((message) => ({ rule, message })),
  );
}

/** A start that was not seen to end lasts: nothing says that it was over. */
function overlap(starts: readonly ProgramFact[]): boolean {
  const inOrder = [...starts].sort((a, b) => a.beganAtMs - b.beganAtMs);
  return inOrder.some(({ beganAtMs }, index) => {
    const before = inOrder.slice(0, index);
    return before.some(({ endedAtMs }) => endedAtMs === null || endedAtMs > beganAtMs);
  });
}

interface FinallyBlock {
  /** Something in the block before `finally` was begun. */
  began: boolean;
  /** Steps of `finally` that are not over. */
  readonly unfinished: string[];
}

const OVER: ReadonlySet<string> = new Set(['succeeded', 'failed', 'stopped', 'skipped']);

/** By the path of the block that has the `finally`; its own steps only, of which blocks inside are some. */
function finallyBlocks(steps: RunFacts['steps']): Map<string, FinallyBlock> {
  const blocks = new Map<string, FinallyBlock>();
  for (const { path, status } of steps) {
    const match = /^(.*)\/finally\/[^/]+$/.exec(path);
    const block = match?.[1];
    if (block === undefined) continue;
    const known = blocks.get(block) ?? { began: false, unfinished: [] };
    if (!OVER.has(status)) known.unfinished.push(path);
    blocks.set(block, known);
  }
  for (const [block, known] of blocks) {
    known.began = steps.some(
      ({ path, status }) =>
        path.startsWith(`${block}/`) &&
        !path.startsWith(`${block}/finally/`) &&
        status !== 'pending' &&
        status !== 'skipped',
    );
  }
  return blocks;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): (readonly [string, T[]])[] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups];
}
