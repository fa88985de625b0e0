/** The lists of steps inside a step: what every walk over a plan goes into. */
import type { PlanStep } from './plan.js';

export interface InnerBlock {
  readonly steps: readonly PlanStep[];
  /** What stands between the path of the step and those of the list: `/`, `/finally/`; `#*` stands for each item. */
  readonly infix: string;
  /** How a reader calls it; empty for the step's own list. */
  readonly title: string;
}

/** In document order. Lists that a step may lack are left out where they are empty. */
export function innerBlocks(step: PlanStep): readonly InnerBlock[] {
  switch (step.kind) {
    case 'foreach':
    case 'repeat':
      return [{ steps: step.steps, infix: '#*/', title: '' }];
    case 'parallel':
      return [{ steps: step.branches.map((branch) => branch.step), infix: '/', title: '' }];
    case 'try':
      return [
        { steps: step.steps, infix: '/', title: '' },
        ...(step.catch ?? []).map(({ steps, errors }, index) => ({
          steps,
          infix: catchInfix(index),
          title: `catch ${errors?.join(', ') ?? ''}`.trim(),
        })),
        ...(step.finally.length === 0
          ? []
          : [{ steps: step.finally, infix: '/finally/', title: 'finally' }]),
      ];
    case 'if':
      return [
        { steps: step.then, infix: '/then/', title: '' },
        ...(step.else.length === 0 ? [] : [{ steps: step.else, infix: '/else/', title: 'else' }]),
      ];
    case 'step':
    case 'approve':
    case 'wait':
    case 'stop':
    // What it calls is a part of the run with a state of its own.
    case 'pipeline':
      return [];
  }
}

/** True for a block that runs its list once for each of many items. */
export function hasItems(step: PlanStep): boolean {
  return step.kind === 'foreach' || step.kind === 'repeat';
}

export function catchInfix(index: number): string {
  return `/catch/${index}/`;
}
