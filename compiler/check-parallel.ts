/** The branches of a `parallel`: each sees what is around the block and what it needs, and nothing of the others. */
import type { PlanStep } from '../core/plan.js';
import { idsOf } from './collect-names.js';
import type { Diagnostics } from './diagnostic.js';
import { Facts } from './facts.js';
import { EndedBranches } from './layers.js';
import type { Step } from './pipeline.js';
import { resolveNeeds } from './resolve-needs.js';
import { Visible, type Scope } from './scope.js';

/** A block as planned, and what is certain behind it. */
export interface BlockPlan {
  readonly plan: PlanStep;
  /** It always ends in a `stop`: nothing comes after it. */
  readonly stops: boolean;
  readonly certain: readonly string[];
}

/** One branch, as those that need it see it. */
interface Branched {
  readonly plan: PlanStep | null;
  readonly stops: boolean;
  readonly facts: Facts;
  readonly visible: Visible;
}

/** `check` checks one step in a scope of its own, and adds to that scope what becomes visible and certain. */
export function checkParallel(
  step: Step & { kind: 'parallel' },
  scope: Scope,
  diagnostics: Diagnostics,
  check: (step: Step, scope: Scope) => { plan: PlanStep | null; stops: boolean },
): BlockPlan {
  const { branches } = step;
  const ids = new Map(
    branches.flatMap((branch, index) =>
      idsOf(branch.step).map((id) => [id, { branch: index, name: branch.step.id?.value ?? null }]),
    ),
  );
  const { needs, order, unclear } = resolveNeeds(branches, diagnostics, (id) => {
    const inside = ids.get(id)?.name ?? null;
    if (inside !== null)
      return `it stands inside of the branch \`${inside}\`: let this one need that`;
    return scope.visible.has(id) ? 'it has ended before this block begins: remove it' : null;
  });
  const results: (Branched | undefined)[] = branches.map(() => undefined);
  const factsOf = new EndedBranches<Facts>(branches.length);
  const visibleIn = new EndedBranches<Visible>(branches.length);
  for (const index of order) {
    const branch = branches[index];
    if (branch === undefined) continue;
    const needed = needs[index] ?? [];
    // What it needs is certain in it as well.
    const facts = new Facts(scope.facts, factsOf.neededBy(index, needed));
    const visible = new Visible(scope.visible, visibleIn.neededBy(index, needed));
    const beside = {
      ids,
      branch: index,
      isUnclear: unclear.has(index),
      told: new Set<string>(),
      ...(scope.beside === undefined ? {} : { outer: scope.beside }),
    };
    const { plan, stops } = check(branch.step, { ...scope, visible, facts, beside });
    factsOf.add(index, facts);
    visibleIn.add(index, visible);
    results[index] = { plan, stops, facts, visible };
  }
  for (const result of results) {
    for (const [id, type] of result?.visible.own ?? []) scope.visible.add(id, type);
  }
  const planned = results.flatMap((result, index) =>
    result === undefined || result.plan === null ? [] : [{ step: result.plan, index }],
  );
  const places = new Map(planned.map(({ index }, place) => [index, place]));
  return {
    plan: {
      key: step.key,
      kind: 'parallel',
      limit: step.limit,
      fail: step.fail,
      branches: planned.map(({ step: branch, index }) => ({
        step: branch,
        needs: (needs[index] ?? []).flatMap((needed) => places.get(needed) ?? []),
      })),
    },
    // A branch that stops ends the run whatever the others do.
    stops: results.some((result) => result?.stops === true),
    certain: results.flatMap((result) => [...(result?.facts.own ?? [])]),
  };
}
