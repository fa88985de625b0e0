/** The steps inside of a step whose ids are read behind it. */
import type { PlanStep } from '../../core/plan.js';
import type { KnownFrame } from './known-value.js';

/** What is certainly not there behind a step that does not run. */
export function forget(step: PlanStep, frame: KnownFrame): void {
  if (step.id !== undefined) frame.steps[step.id] = null;
  for (const inner of innerSteps(step)) forget(inner, frame);
}

function innerSteps(step: PlanStep): readonly PlanStep[] {
  switch (step.kind) {
    case 'parallel':
      return step.branches.map((branch) => branch.step);
    case 'try':
      return [...step.steps, ...(step.catch ?? []).flatMap((one) => one.steps), ...step.finally];
    case 'if':
      return [...step.then, ...step.else];
    default:
      return [];
  }
}

/** A step for each step inside of a list, called files included: what telling it takes. */
export function sizeOf(steps: readonly PlanStep[]): number {
  return steps.reduce((size, step) => {
    const own = step.kind === 'foreach' || step.kind === 'repeat' ? sizeOf(step.steps) : 0;
    const called = step.kind === 'pipeline' ? sizeOf(step.called.steps) : 0;
    return size + 1 + own + called + sizeOf(innerSteps(step));
  }, 1);
}

/** What a reused block with items held is not told: it is a part of it. */
export function isClosed(step: PlanStep): boolean {
  return step.kind === 'foreach' || step.kind === 'repeat' || step.kind === 'pipeline';
}
