/**
 * The state from which a new run of the same plan repeats as little as it can.
 *
 * Invariants:
 * 1. A step is kept only if every step that it could read is kept with the same outputs: in a list of steps nothing
 *    stays behind one that was dropped. The inputs of what is kept are then unchanged, since plan and run inputs are.
 * 2. Kept are successes only. A skipped step is asked again; what failed, stopped, was cancelled or was under way
 *    begins anew, from start 1: a new run has run directories of its own.
 * 3. What a `finally` or a `catch` took back is done again: when it changed something outside, its `try` begins again at
 *    its first step that changes something outside. A `try` whose failure was caught stays whole, or begins again.
 * 4. Items of a list do not read each other: dropping one leaves the others.
 */
import { StepError } from './error.js';
import type { JsonObject } from './json.js';
import { hasItems, innerBlocks } from './inner-blocks.js';
import { approvalOutputs } from './open-approval.js';
import type {
  ActivityStep,
  ForeachStep,
  IfStep,
  ParallelStep,
  PipelineStep,
  Plan,
  PlanStep,
  RepeatStep,
  TryStep,
} from './plan.js';
import { findStepPath, isInside, toPattern, unknownStepReport } from './plan-paths.js';
import type { RunState, StepState } from './run-state.js';

/** Outputs by step path, as they were kept outside of the run. */
export type RecordedOutputs = { readonly [path: string]: JsonObject };

/**
 * `from` is the path of a step, or the id of one (inside a `foreach`: that step of every item): it and what comes
 * after it is dropped. `recorded` gives back outputs of items' steps, which a run forgets when the item has ended.
 * Throws STEP_PATH_UNKNOWN, with the paths that there are, when the plan has no step `from`.
 */
export function toRetryState(
  plan: Plan,
  state: RunState,
  from?: string,
  recorded: RecordedOutputs = {},
): RunState {
  const target = from === undefined ? null : findStepPath(plan, from);
  if (from !== undefined && target === null) {
    const { message, hint } = unknownStepReport(plan, from);
    throw new StepError('STEP_PATH_UNKNOWN', message, hint === undefined ? {} : { hint });
  }
  const kept = new Map<string, StepState>();
  keepList(plan.steps, '', { states: state.steps, recorded, target, kept, effects: true });
  return {
    steps: Object.fromEntries(kept),
    ...(state.decisions === undefined ? {} : { decisions: state.decisions }),
  };
}

interface Keeping {
  readonly states: RunState['steps'];
  readonly recorded: RecordedOutputs;
  /** Path of the first step that is dropped by wish, with `#*` for every item. */
  readonly target: string | null;
  /** What stays, by path; added to. */
  readonly kept: Map<string, StepState>;
  /** False: a step that changes something outside does not stay. */
  readonly effects: boolean;
}

/** Keeps the steps of a list up to the first that does not stay; true when all of them do. */
function keepList(steps: readonly PlanStep[], prefix: string, keeping: Keeping): boolean {
  return steps.every((step) => keepStep(step, `${prefix}${step.key}`, keeping));
}

/** True when what comes after the step may stay as well. */
function keepStep(step: PlanStep, path: string, keeping: Keeping): boolean {
  if (isTarget(path, keeping)) return false;
  const state = keeping.states[path];
  if (state?.status === 'skipped') return true;
  switch (step.kind) {
    case 'step':
      return keepActivity(step, path, state, keeping);
    case 'foreach':
      return keepForeach(step, path, state, keeping);
    case 'repeat':
      return keepRepeat(step, path, state, keeping);
    case 'parallel':
      return keepParallel(step, path, state, keeping);
    case 'try':
      return keepTry(step, path, state, keeping);
    case 'if':
      return keepIf(step, path, state, keeping);
    case 'approve':
      return keepApproval(path, state, keeping);
    case 'wait':
      if (state?.status === 'succeeded') keeping.kept.set(path, state);
      return state?.status === 'succeeded';
    case 'stop':
      return false;
    case 'pipeline':
      return keepPipeline(step, path, state, keeping);
  }
}

function keepActivity(
  step: ActivityStep,
  path: string,
  state: StepState | undefined,
  { recorded, kept, effects }: Keeping,
): boolean {
  if (state?.status !== 'succeeded' || (step.effect === true && !effects)) return false;
  const outputs = state.outputs ?? (Object.hasOwn(recorded, path) ? recorded[path] : undefined);
  if (outputs === undefined) return false;
  kept.set(path, { ...state, outputs });
  return true;
}

/** What was approved was shown from steps that all stay: it would show the same again. */
function keepApproval(path: string, state: StepState | undefined, { kept }: Keeping): boolean {
  const outputs = state?.status === 'succeeded' ? givenBy(state) : undefined;
  if (state === undefined || outputs === undefined) return false;
  kept.set(path, { ...state, outputs });
  return true;
}

/** What a step gave; an approval's is made again from what was approved, where the run has forgotten it. */
function givenBy({ outputs, approval }: StepState): StepState['outputs'] {
  return outputs ?? (approval === undefined ? undefined : approvalOutputs(approval));
}

function keepForeach(
  step: ForeachStep,
  path: string,
  state: StepState | undefined,
  keeping: Keeping,
): boolean {
  const whole = staysWhole(step.steps, path, keeping);
  if (whole && state?.status === 'succeeded' && state.outputs !== undefined) {
    return keepWhole(path, state, keeping);
  }
  for (const index of itemsOf(path, keeping.states)) {
    const itemPath = `${path}#${index}`;
    if (isTarget(itemPath, keeping)) continue;
    keepItem(step, itemPath, keeping);
  }
  return false;
}

/** Keeps an item or an iteration, or else of its steps those up to the first that does not stay; true when all stays. */
function keepItem(step: ForeachStep | RepeatStep, path: string, keeping: Keeping): boolean {
  const item = keeping.states[path];
  const stays = staysWhole(step.steps, path, keeping) && item?.status === 'succeeded';
  // Of a block inside an item that has ended they are forgotten.
  if (stays && item.outputs !== undefined) return keepWhole(path, item, keeping);
  keepList(step.steps, `${path}/`, keeping);
  return false;
}

/**
 * Iterations come one after the other: the first that does not stay whole takes all behind it along. One that has used
 * up its limit would only fail again: it begins at its first iteration.
 */
function keepRepeat(
  step: RepeatStep,
  path: string,
  state: StepState | undefined,
  keeping: Keeping,
): boolean {
  const whole = staysWhole(step.steps, path, keeping);
  if (whole && state?.status === 'succeeded' && state.outputs !== undefined) {
    return keepWhole(path, state, keeping);
  }
  if (state?.error?.code === 'REPEAT_LIMIT_REACHED' && state.error.step === path) return false;
  for (let index = 0; index < step.limit; index += 1) {
    const itemPath = `${path}#${index}`;
    if (isTarget(itemPath, keeping)) break;
    if (!keepItem(step, itemPath, keeping)) break;
  }
  return false;
}

/** A branch stays only if every branch that it needs does. */
function keepParallel(
  step: ParallelStep,
  path: string,
  state: StepState | undefined,
  keeping: Keeping,
): boolean {
  const staying = new Set<number>();
  const left = new Map(step.branches.entries());
  for (let before = -1; before !== left.size;) {
    before = left.size;
    for (const [index, branch] of left) {
      if (branch.needs.some((needed) => left.has(needed))) continue;
      left.delete(index);
      if (!branch.needs.every((needed) => staying.has(needed))) continue;
      const branchPath = `${path}/${branch.step.key}`;
      if (keepStep(branch.step, branchPath, keeping)) staying.add(index);
    }
  }
  const whole = staying.size === step.branches.length;
  if (!whole || state?.status !== 'succeeded' || hasTarget(path, keeping)) return false;
  return keepWhole(path, state, keeping);
}

function keepTry(
  step: TryStep,
  path: string,
  state: StepState | undefined,
  keeping: Keeping,
): boolean {
  const kept = new Map<string, StepState>();
  if (
    wasCaught(path, keeping) &&
    state?.status === 'succeeded' &&
    staysWhole([step], path, keeping)
  ) {
    if (keepAgain(step, path, { ...keeping, kept })) {
      for (const [inner, innerState] of kept) keeping.kept.set(inner, innerState);
      return true;
    }
    kept.clear();
  }
  const whole = keepList(step.steps, `${path}/`, { ...keeping, kept });
  const isTakenBack = innerBlocks(step).some(
    ({ steps, infix }) => infix !== '/' && hasActed(steps, `${path}${infix}`, keeping.states),
  );
  if (!whole && isTakenBack) {
    kept.clear();
    keepList(step.steps, `${path}/`, { ...keeping, kept, effects: false });
  }
  for (const [inner, innerState] of kept) keeping.kept.set(inner, innerState);
  if (!whole || state?.status !== 'succeeded') return false;
  if (!keepList(step.finally, `${path}/finally/`, keeping) || hasTarget(path, keeping))
    return false;
  return keepWhole(path, state, keeping);
}

/** Keeps a block as it ended, with what its steps gave; false when some of that is not known any more. */
function keepAgain(step: PlanStep, path: string, keeping: Keeping): boolean {
  const state = keeping.states[path];
  if (state === undefined) return true;
  const gives = ['step', 'foreach', 'repeat', 'pipeline', 'approve'].includes(step.kind);
  if (state.status === 'succeeded' && gives) {
    const recorded = Object.hasOwn(keeping.recorded, path) ? keeping.recorded[path] : undefined;
    const outputs = givenBy(state) ?? (step.kind === 'step' ? recorded : undefined);
    if (outputs === undefined) return false;
    keeping.kept.set(path, { ...state, outputs });
  } else {
    keeping.kept.set(path, state);
  }
  if (hasItems(step)) {
    keepBelow(path, keeping);
    return true;
  }
  return innerBlocks(step).every(({ steps, infix }) =>
    steps.every((inner) => keepAgain(inner, `${path}${infix}${inner.key}`, keeping)),
  );
}

/** A failure of the block was taken by a `catch`: what failed in it belongs to a block that has succeeded. */
function wasCaught(path: string, { states }: Keeping): boolean {
  return Object.keys(states).some((inner) => inner.startsWith(`${path}/catch/`));
}

function keepIf(
  step: IfStep,
  path: string,
  state: StepState | undefined,
  keeping: Keeping,
): boolean {
  const taken = Object.keys(keeping.states).some((inner) => inner.startsWith(`${path}/then/`));
  const whole = taken
    ? keepList(step.then, `${path}/then/`, keeping)
    : keepList(step.else, `${path}/else/`, keeping);
  if (!whole || state?.status !== 'succeeded' || hasTarget(path, keeping)) return false;
  return keepWhole(path, state, keeping);
}

/**
 * A call stays with its outputs; else of the called steps those up to the first that does not stay. All of them, and
 * the outputs forgotten: the call runs again without a step, and gives what it gave.
 */
function keepPipeline(
  { called }: PipelineStep,
  path: string,
  state: StepState | undefined,
  keeping: Keeping,
): boolean {
  const whole = staysWhole(called.steps, path, keeping) && state?.status === 'succeeded';
  if (whole && state.outputs !== undefined) return keepWhole(path, state, keeping);
  return keepList(called.steps, `${path}/`, keeping) && whole;
}

/** True when nothing inside of a block, or of an item, has to be dropped although the block succeeded. */
function staysWhole(steps: readonly PlanStep[], path: string, keeping: Keeping): boolean {
  return !hasTarget(path, keeping) && (keeping.effects || !steps.some(changesOutside));
}

function hasTarget(path: string, { target }: Keeping): boolean {
  return target !== null && (isInside(target, path) || isInside(target, toPattern(path)));
}

function keepWhole(path: string, state: StepState, keeping: Keeping): true {
  keepBelow(path, keeping);
  keeping.kept.set(path, state);
  return true;
}

/** What a block that stays holds belongs to what is shown of the run: skipped steps as well. */
function keepBelow(path: string, { states, kept }: Keeping): void {
  for (const [inner, state] of Object.entries(states)) {
    if (isInside(inner, path) && !kept.has(inner)) kept.set(inner, state);
  }
}

function isTarget(path: string, { target }: Keeping): boolean {
  return target !== null && (target === path || target === toPattern(path));
}

/** Numbers of the items that the states know something of. */
function itemsOf(path: string, states: Keeping['states']): number[] {
  const numbers = new Set<number>();
  for (const inner of Object.keys(states)) {
    if (!inner.startsWith(`${path}#`)) continue;
    const number = Number.parseInt(inner.slice(path.length + 1), 10);
    if (Number.isSafeInteger(number)) numbers.add(number);
  }
  return [...numbers];
}

function changesOutside(step: PlanStep): boolean {
  if (step.kind === 'step') return step.effect === true;
  if (step.kind === 'pipeline') return step.called.steps.some(changesOutside);
  return innerBlocks(step).some(({ steps }) => steps.some(changesOutside));
}

/** True when a step that changes something outside has begun in this block. */
function hasActed(steps: readonly PlanStep[], prefix: string, states: Keeping['states']): boolean {
  return steps.filter(changesOutside).some((step) => {
    const path = `${prefix}${step.key}`;
    const status = states[path]?.status;
    return status !== undefined && status !== 'skipped';
  });
}
