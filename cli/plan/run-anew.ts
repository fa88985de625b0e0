/** A run that cannot be tried again as it is wanted now: all begins anew. */
import { isToRun, type PlannedStep } from './planned-step.js';

const MESSAGES = {
  source_changed:
    'the file has changed since the run was started: a retry keeps the plan of its run',
  input_changed: 'the inputs are others than those of the run: a retry keeps those of its run',
} as const;

/** The steps of a new run, each with the reason for which nothing of the old one is reused. */
export function runAnew(steps: readonly PlannedStep[], code: keyof typeof MESSAGES): PlannedStep[] {
  return steps.map((step) => ({
    ...step,
    reason: isToRun(step) ? (step.reason ?? { code, message: MESSAGES[code] }) : step.reason,
    blocks: step.blocks.map((block) => ({ ...block, steps: runAnew(block.steps, code) })),
  }));
}
