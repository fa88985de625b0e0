/** Whether a claim is young enough for its submission. */
import { formatDuration, parseDuration } from '../core/duration.js';
import type { PlanStep } from '../core/plan.js';
import { durationOf } from './block-time.js';
import type { Open } from './claim-flow.js';
import type { Diagnostics } from './diagnostic.js';
import { labelOf, templateOf, type PlanTree, type UsesPlace } from './plan-tree.js';

/** `open` is what can be of the claim where `submit` begins. */
export function checkAge(
  submit: PlanStep,
  { time, spent }: Open,
  { step: claim, signature: { submission: role } }: UsesPlace,
  tree: PlanTree,
  diagnostics: Diagnostics,
): void {
  if (role?.role !== 'claim') return;
  const { lifetime, lifetimeInput } = role;
  const told = templateOf(claim, lifetimeInput);
  const lifetimeMs = told === undefined ? parseDuration(lifetime) : durationOf(told);
  if (lifetimeMs === null) {
    diagnostics.add(
      'CLAIM_TOO_OLD',
      tree.rangeOfInput(claim, lifetimeInput),
      'the checker must know how long the claim lives, and this is told only when the run starts',
      'write the duration out, such as `45m`',
    );
    return;
  }
  if (typeof time !== 'number') {
    diagnostics.add(
      'CLAIM_TOO_OLD',
      tree.rangeOf(submit),
      `the claim ${labelOf(claim)} may have expired here: it cannot be told how long ${labelOf(time.unclear)} takes, which comes between`,
      'move it before the claim, or write out how long it can take',
    );
  } else if (time > lifetimeMs) {
    const parts: { readonly step: PlanStep; readonly ms: number }[] = [];
    for (let part = spent; part !== null; part = part.before) parts.push(part);
    const longest = parts.toSorted((a, b) => b.ms - a.ms).slice(0, 3);
    diagnostics.add(
      'CLAIM_TOO_OLD',
      tree.rangeOf(submit),
      `the claim ${labelOf(claim)} may have expired here: it lives ${span(lifetimeMs)}, and up to ${span(time)} can lie between (${longest.map(({ step, ms }) => `${labelOf(step)} ${span(ms)}`).join(', ')})`,
      `claim later, give what lies between less time, or tell the claim its \`${lifetimeInput}\` where the coordinator grants more`,
    );
  }
}

/** `45m` for what `formatDuration` writes as `45m 00s`. */
function span(ms: number): string {
  return formatDuration(ms)
    .replace(/ 00?[smh]$/, '')
    .replace(/\.0s$/, 's');
}
