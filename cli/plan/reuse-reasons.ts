/** Why a retry reuses a step or runs it again: what `core/retry-state.ts` has decided, in words. */
import { hasItems } from '../../core/inner-blocks.js';
import { isInside, toPattern } from '../../core/plan-paths.js';
import type { PlanStep } from '../../core/plan.js';
import type { RunState } from '../../core/run-state.js';
import { stepsRead } from './known-value.js';
import type { Reason } from './planned-step.js';

/** A run that is to be tried again. */
export interface Reuse {
  /** What it did, and what a retry takes over of that. */
  readonly before: RunState;
  readonly after: RunState;
  /** Outputs of blocks are as they were; else only that there were some is known. */
  readonly isExact: boolean;
  /** Path of the step from which on all runs again by wish, with `#*` for every item; null for none. */
  readonly target: string | null;
}

/** How it stands at one place of the walk. */
export interface Flow {
  /** A step before this place runs again. */
  readonly dropped: boolean;
  /** Ids of steps that run again. */
  readonly again: ReadonlySet<string>;
  /** The innermost block that may begin again as a whole. */
  readonly around: 'try' | 'repeat' | null;
}

/** True when a retry takes the step over. */
export function isKept(path: string, { after }: Reuse): boolean {
  return after.steps[path]?.status === 'succeeded';
}

/** Why the step at `path`, which is not kept, runs again. */
export function reasonToRun(
  step: PlanStep,
  path: string,
  { before, target }: Reuse,
  flow: Flow,
): Reason | null {
  const was = before.steps[path];
  if (target !== null && (target === path || target === toPattern(path)))
    return { code: 'requested', message: '--from names it' };
  switch (was?.status) {
    case undefined:
    case 'pending':
      return { code: 'never_ran', message: 'it has not run yet' };
    case 'skipped':
      return { code: 'skipped_before', message: 'it was skipped: its condition is asked again' };
    case 'failed':
    case 'stopped': {
      const why = was.error === undefined ? '' : ` with ${was.error.code}`;
      const verb = was.status === 'failed' ? 'failed' : 'stopped';
      return { code: was.status, message: `it ${verb}${why}` };
    }
    case 'cancelled':
      return { code: 'cancelled', message: 'it was cancelled' };
    case 'running':
    case 'parked':
      return { code: 'interrupted', message: 'it was under way when the run ended' };
    case 'succeeded':
      return afterSuccess(step, path, target, flow);
  }
}

/** It has succeeded, and yet it is not kept. */
function afterSuccess(
  step: PlanStep,
  path: string,
  target: string | null,
  flow: Flow,
): Reason | null {
  // Of a block its parts tell.
  if (target !== null && (isInside(target, path) || isInside(target, toPattern(path)))) return null;
  const changed = [...stepsRead(ownParts(step))].filter((id) => flow.again.has(id));
  if (changed.length > 0) {
    const names = changed.map((id) => `steps.${id}`).join(', ');
    const verb = changed.length === 1 ? 'runs' : 'run';
    return { code: 'input_changed', message: `it reads ${names}, which ${verb} again` };
  }
  if (flow.dropped) return { code: 'follows', message: 'a step before it runs again' };
  if (step.kind !== 'step' && step.kind !== 'approve' && step.kind !== 'wait') return null;
  if (flow.around === 'try' && step.kind === 'step' && step.effect === true)
    return { code: 'taken_back', message: 'what it did was taken back by `catch` or `finally`' };
  if (flow.around === 'repeat')
    return {
      code: 'limit_reached',
      message: 'its `repeat` has used up its limit, and begins again',
    };
  return { code: 'outputs_missing', message: 'what it gave is not known any more' };
}

/** The step without what is inside of it. */
function ownParts(step: PlanStep): unknown {
  switch (step.kind) {
    case 'step':
    case 'pipeline':
      return [step.if, step.with];
    case 'approve':
      return [step.if, step.show, step.expires, step.summary];
    case 'foreach':
      return [step.if, step.items];
    case 'if':
      return [step.if, step.test];
    case 'wait':
      return [step.if, step.for, step.until];
    default:
      return step.if;
  }
}

/** Items of a block that a state knows: one more than the highest number. */
export function itemsKnown(step: PlanStep, path: string, { before }: Reuse): number {
  if (!hasItems(step)) return 0;
  let count = 0;
  for (const inner of Object.keys(before.steps)) {
    if (!inner.startsWith(`${path}#`)) continue;
    const number = Number.parseInt(inner.slice(path.length + 1), 10);
    if (Number.isSafeInteger(number)) count = Math.max(count, number + 1);
  }
  return count;
}
