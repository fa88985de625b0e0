/** Where the walk over a plan stands, and what it decides about a step there. */
import type { PlanStep } from '../../core/plan.js';
import { knownExpression, type KnownFrame, type KnownValue } from './known-value.js';
import type { Reason, Will } from './planned-step.js';
import { isKept, reasonToRun, type Flow, type Reuse } from './reuse-reasons.js';

export interface PreviewOptions {
  readonly taskQueue: string;
  readonly nowMs: number;
  /** Path of the step behind which the run ends. */
  readonly until?: string;
  readonly retry?: Reuse & { readonly roundId: string };
}

export interface Walk extends PreviewOptions {
  left: number;
  /** Why the run has ended before this place; null while it goes on. */
  ended: string | null;
}

export interface Place {
  readonly prefix: string;
  readonly frame: KnownFrame;
  /** Something not known yet decides whether this place is come by. */
  readonly may: boolean;
  /** Inside of a block that is reused as a whole. */
  readonly whole: boolean;
  readonly flow: { dropped: boolean; again: Set<string>; around: Flow['around'] };
}

/** Whether it runs, and why. */
export function decide(
  step: PlanStep,
  path: string,
  { frame, may, whole, flow }: Place,
  { ended, retry }: Walk,
): { readonly will: Will; readonly reason: Reason | null; readonly condition?: string } {
  if (ended !== null) return { will: 'not_reached', reason: { code: 'run_ended', message: ended } };
  if (retry !== undefined && whole) {
    const isThere = retry.after.steps[path]?.status === 'succeeded';
    return isThere
      ? { will: 'reused', reason: KEPT }
      : { will: 'skipped', reason: { code: 'kept', message: 'it did not run' } };
  }
  if (retry !== undefined && isKept(path, retry)) return { will: 'reused', reason: KEPT };
  const again = retry === undefined ? null : reasonToRun(step, path, retry, flow);
  if (step.if === undefined) return { will: may ? 'may_run' : 'runs', reason: again };
  const condition = knownExpression(step.if, frame);
  if (!condition.known) {
    const text = condition.text.slice(4, -3);
    const fails = failure(condition, 'its condition');
    return { will: fails === null ? 'may_run' : 'runs', reason: fails ?? again, condition: text };
  }
  if (condition.value === false)
    return { will: 'skipped', reason: { code: 'condition', message: 'its condition is false' } };
  return { will: may ? 'may_run' : 'runs', reason: again };
}

export const KEPT: Reason = { code: 'kept', message: 'it succeeded, and so did all before it' };

/** What of its values cannot be evaluated, whatever is known later; null when nothing. */
export function brokenReason(values: { readonly [name: string]: KnownValue }): Reason | null {
  for (const [name, value] of Object.entries(values)) {
    const reason = failure(value, `\`${name}\``);
    if (reason !== null) return reason;
  }
  return null;
}

function failure(value: KnownValue, what: string): Reason | null {
  if (value.known || value.fails === undefined) return null;
  return { code: 'expression_failed', message: `${what} cannot be evaluated: ${value.fails}` };
}
