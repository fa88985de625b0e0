import type { ErrorReport } from './error.js';
import type { Json } from './json.js';
import type { Plan, PlanStep } from './plan.js';
import type { RunResult, RunStatus, StepState, StepStatus } from './run-state.js';

/** The states of a run's steps by path. */
type StepStates = ReadonlyMap<string, StepState>;

/** One step as `adit show` prints it. */
export interface StepView {
  readonly path: string;
  readonly uses: string;
  readonly status: StepStatus;
  readonly attempts: number;
  readonly startedAt?: string;
  readonly endedAt?: string;
  readonly error?: ErrorReport;
}

/** A run as people and programs see it. */
export interface RunView {
  readonly runId: string;
  readonly roundId: string;
  readonly pipeline: string;
  readonly status: RunStatus;
  /** The step of the outermost block that is under way, or the last one that was. */
  readonly stage: string;
  readonly outputs: { readonly [name: string]: Json };
  readonly steps: readonly StepView[];
  readonly error?: ErrorReport;
}

/** The view of a run, with the steps in document order; those not reached yet are `pending`. */
export function toRunView(
  plan: Plan,
  states: StepStates,
  run: { readonly runId: string; readonly roundId: string },
  result: RunResult,
): RunView {
  return {
    ...run,
    pipeline: plan.pipeline,
    status: result.status,
    stage: stageOf(plan, states),
    outputs: result.outputs,
    steps: stepViews(plan.steps, '', states),
    ...(result.error === undefined ? {} : { error: result.error }),
  };
}

/** The key of the outermost step that is running, else of the last one that began. */
export function stageOf(plan: Plan, states: StepStates): string {
  let stage = '';
  for (const step of plan.steps) {
    const status = states.get(step.key)?.status;
    if (status === 'running' || status === 'parked') return step.key;
    if (status !== undefined && status !== 'skipped') stage = step.key;
  }
  return stage;
}

function stepViews(steps: readonly PlanStep[], prefix: string, states: StepStates): StepView[] {
  return steps.flatMap((step) => {
    const path = `${prefix}${step.key}`;
    const uses = step.kind === 'step' ? step.uses : step.kind;
    return [viewOf(path, uses, states), ...innerViews(step, path, states)];
  });
}

function innerViews(step: PlanStep, path: string, states: StepStates): StepView[] {
  switch (step.kind) {
    case 'foreach': {
      const views: StepView[] = [];
      for (let index = 0; states.has(`${path}#${index}`); index += 1) {
        const item = `${path}#${index}`;
        views.push(viewOf(item, 'item', states), ...stepViews(step.steps, `${item}/`, states));
      }
      return views;
    }
    case 'try':
      return [
        ...stepViews(step.steps, `${path}/`, states),
        ...stepViews(step.finally, `${path}/finally/`, states),
      ];
    case 'if':
      return [
        ...stepViews(step.then, `${path}/then/`, states),
        ...stepViews(step.else, `${path}/else/`, states),
      ];
    case 'step':
    case 'stop':
      return [];
  }
}

function viewOf(path: string, uses: string, states: StepStates): StepView {
  const step = states.get(path);
  if (step === undefined) return { path, uses, status: 'pending', attempts: 0 };
  const { outputs: _outputs, ...view } = step;
  return { path, ...view };
}
