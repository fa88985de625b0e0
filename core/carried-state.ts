import { turnsAround } from './plan-paths.js';
import type { RunState, StepState } from './run-state.js';

/**
 * The state with which a run goes on when its history begins anew: of an item or an iteration that succeeded only its
 * own entry stays, with what it collected. So the state grows with the items, not with the steps in them.
 */
export function toCarriedState(state: RunState): RunState {
  const { steps } = state;
  const kept: Record<string, StepState> = {};
  for (const [path, step] of Object.entries(steps)) {
    if (!isInsideEnded(path, steps)) kept[path] = step;
  }
  return { ...state, steps: kept };
}

/** True for a step inside of an item or an iteration that has succeeded: what there is to know of it stands at the item. */
export function isInsideEnded(path: string, steps: RunState['steps']): boolean {
  return turnsAround(path).some(({ turn }) => steps[turn]?.status === 'succeeded');
}
