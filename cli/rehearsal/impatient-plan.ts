import type { Plan, PlanStep } from '../../core/plan.js';

/** A worker that is gone counts as lost after this, in milliseconds: it says that it lives once a second. */
const HEARTBEAT_MS = 3_000;
const MOST_BACK_OFF_MS = 1_000;

/** The same plan with less patience: lost workers are noticed sooner, and the next try comes sooner. How many there are stays. */
export function impatientPlan(plan: Plan): Plan {
  return { ...plan, steps: impatient(plan.steps) };
}

function impatient(steps: readonly PlanStep[]): PlanStep[] {
  return steps.map((step): PlanStep => {
    switch (step.kind) {
      case 'step': {
        const { retry } = step.options;
        const firstMs = Math.min(retry.firstMs, MOST_BACK_OFF_MS);
        const mostMs = Math.min(retry.mostMs, MOST_BACK_OFF_MS);
        const options = {
          ...step.options,
          heartbeatMs: HEARTBEAT_MS,
          retry: { ...retry, firstMs, mostMs },
        };
        return { ...step, options };
      }
      case 'foreach':
      case 'repeat':
        return { ...step, steps: impatient(step.steps) };
      case 'parallel': {
        const branches = step.branches.map((branch) => {
          const [inner = branch.step] = impatient([branch.step]);
          return { ...branch, step: inner };
        });
        return { ...step, branches };
      }
      case 'try': {
        const { catch: clauses } = step;
        return {
          ...step,
          steps: impatient(step.steps),
          ...(clauses === undefined
            ? {}
            : { catch: clauses.map((one) => ({ ...one, steps: impatient(one.steps) })) }),
          finally: impatient(step.finally),
        };
      }
      case 'if':
        return { ...step, then: impatient(step.then), else: impatient(step.else) };
      case 'pipeline':
        return { ...step, called: { ...step.called, steps: impatient(step.called.steps) } };
      case 'approve':
      case 'wait':
      case 'stop':
        return step;
    }
  });
}
