/**
 * Walks a Plan as its blocks nest, and decides only what may start next. It holds no timer, no clock
 * and no I/O of its own: it is handed its powers.
 *
 * Invariants:
 * 1. The RunState is its only memory. Started from any RunState it goes on from there: a step that is
 *    recorded as succeeded or skipped is not run again.
 * 2. Steps start in document order, and items in list order, whichever result came first.
 * 3. `finally` runs after success, failure, stop and cancellation, and a cancellation of the run does not reach it;
 *    only its own time limit ends it.
 * 4. A step's input holds what its `with` names, nothing else: the cost of a step does not grow with the plan.
 */
import { evaluate, evaluateTemplate } from './evaluate.js';
import { condition, scopeOf, type Frame } from './frame.js';
import type { Json, JsonObject } from './json.js';
import { catchInfix, hasItems, innerBlocks } from './inner-blocks.js';
import type {
  ActivityStep,
  CatchClause,
  ForeachStep,
  IfStep,
  ParallelStep,
  Plan,
  PlanStep,
  RepeatStep,
  StopStep,
  TryStep,
} from './plan.js';
import { findStepPath, isInside, unknownStepReport } from './plan-paths.js';
import type { CalledPlan, PartRequest, Powers, ShieldLimit } from './powers.js';
import { movingOf } from './moving-block.js';
import { runActivityStep, Starts, type Begun } from './run-activity-step.js';
import { runApprove } from './run-approve.js';
import { runForeach } from './run-foreach.js';
import { runParallel } from './run-parallel.js';
import { runRepeat } from './run-repeat.js';
import { runSubPipeline } from './run-sub-pipeline.js';
import {
  MAX_RUN_OUTPUT_BYTES,
  type RunResult,
  type RunState,
  type StepState,
} from './run-state.js';
import { runWait } from './run-wait.js';
import { assertSize, expression, finallyTimedOut, StepEnd } from './step-end.js';
import { StepStates } from './step-states.js';

/** Which run it is, and how far it goes. */
export interface RunOptions {
  readonly runId: string;
  readonly roundId: string;
  /** Path or id of the step after which the run ends as stopped, with UNTIL_REACHED; inside items: its path. */
  readonly until?: string;
  /** Path of the step that calls this pipeline, with a slash: its steps' paths begin so. `until` is then a path. */
  readonly prefix?: string;
  /** What a block of another plan can see, where this plan is that block alone; the outputs are then the block's. */
  readonly frame?: Frame;
  /**
   * Its steps begin and end in as many turns of promises as in builds that made more of them: the turns decide in which
   * order the commands of branches come that go on at one moment, and a run's history has that order.
   */
  readonly hasManyTurns?: boolean;
}

/** Runs a plan from a state to its end. Rejects only with a cancellation, or with an error that is a bug. */
export async function interpret(
  plan: Plan,
  initial: RunState,
  run: RunOptions,
  powers: Powers,
): Promise<RunResult> {
  try {
    const { until: name, prefix } = run;
    const until = name === undefined ? null : prefix === undefined ? untilPath(plan, name) : name;
    const states = new StepStates(plan.inputs, initial, powers);
    const interpreter = new Interpreter(run, states, powers, until);
    if (run.frame !== undefined) {
      await interpreter.block(plan.steps, prefix ?? '', run.frame);
      const [block] = plan.steps;
      const state = states.get(`${prefix ?? ''}${block?.key ?? ''}`);
      return { status: 'succeeded', outputs: state?.outputs ?? {} };
    }
    const outputs = await interpreter.plan(plan, prefix ?? '');
    assertSize('The outputs of the run', outputs, MAX_RUN_OUTPUT_BYTES, null);
    return { status: 'succeeded', outputs };
  } catch (error) {
    if (!(error instanceof StepEnd)) throw error;
    return { status: error.ends, outputs: {}, error: error.report };
  }
}

/** A name that means no step would let the run go on to its end: nothing starts then. */
function untilPath(plan: Plan, name: string): string {
  const path = findStepPath(plan, name);
  if (path === null) throw new StepEnd(unknownStepReport(plan, name), 'failed');
  if (!path.includes('#*')) return path;
  throw new StepEnd(
    {
      code: 'STEP_PATH_UNKNOWN',
      message: `\`${name}\` is a step of every item, not of one.`,
      hint: `Name the item, such as \`${path.replaceAll('#*', '#0')}\`.`,
    },
    'failed',
  );
}

class Interpreter {
  readonly #ids: RunOptions;
  readonly #states: StepStates;
  readonly #powers: Powers;
  readonly #until: string | null;

  constructor(run: RunOptions, states: StepStates, powers: Powers, until: string | null) {
    this.#ids = run;
    this.#states = states;
    this.#powers = powers;
    this.#until = until;
  }

  /** The outputs of a plan whose steps have all ended well; `prefix` begins their paths. */
  async plan(plan: CalledPlan, prefix: string): Promise<{ [name: string]: Json }> {
    const { runId, roundId } = this.#ids;
    const frame: Frame = {
      names: { inputs: plan.inputs, run: { id: runId, round: roundId, pipeline: plan.pipeline } },
      steps: {},
    };
    await this.block(plan.steps, prefix, frame);
    const outputs: Record<string, Json> = {};
    for (const [name, template] of plan.outputs) {
      outputs[name] = expression(null, `output ${name}`, () =>
        evaluateTemplate(template, scopeOf(frame)),
      );
    }
    return outputs;
  }

  async block(steps: readonly PlanStep[], prefix: string, frame: Frame): Promise<void> {
    for (const step of steps) {
      const path = `${prefix}${step.key}`;
      const skipped = await (this.#isFresh(step, path)
        ? this.#freshStep(step, path, frame)
        : this.#step(step, path, frame));
      this.#passed(path, skipped ? 'skipped' : 'succeeded');
    }
  }

  /** A step of which nothing is known yet, and that is certain to begin. */
  #isFresh(step: PlanStep, path: string): step is ActivityStep {
    return (
      step.kind === 'step' &&
      step.if === undefined &&
      this.#ids.hasManyTurns !== true &&
      !this.#states.has(path)
    );
  }

  /**
   * As `#step`, with one promise besides that of its start, where that succeeds: in a workflow each one costs a stack
   * trace, and a step that does little costs hardly more than its promises.
   */
  #freshStep(step: ActivityStep, path: string, frame: Frame): Promise<boolean> {
    const startedAt = this.#states.iso();
    const goOn = (begun: Begun): Promise<boolean> => this.#step(step, path, frame, begun);
    try {
      const starts = new Starts(step, path, frame, { states: this.#states, powers: this.#powers });
      return starts.begin().then(
        (outcome) => {
          let outputs: JsonObject | null;
          try {
            outputs = starts.take(outcome);
          } catch (error) {
            return goOn({ error });
          }
          if (outputs === null) return goOn({ starts });
          this.#succeed(step, path, frame, startedAt, outputs);
          return false;
        },
        (error: unknown) => goOn({ error }),
      );
    } catch (error) {
      return goOn({ error });
    }
  }

  /** Resolves to true when the step was skipped. `begun`: its first start is over. */
  async #step(step: PlanStep, path: string, frame: Frame, begun?: Begun): Promise<boolean> {
    const before = this.#states.get(path);
    if (before?.status === 'succeeded') {
      this.#expose(step, path, before, frame);
      return false;
    }
    if (before?.status === 'skipped') return true;
    if (before?.status === 'failed' || before?.status === 'stopped') {
      this.#exposeInner(step, path, frame);
      throw endOf(path, before);
    }
    const startedAt = before?.startedAt ?? this.#states.iso();
    const uses = usesOf(step);
    let outputs: JsonObject | null;
    try {
      if (step.if !== undefined && !condition(path, step.if, frame)) {
        this.#states.set(path, { status: 'skipped', uses, attempts: 0 });
        return true;
      }
      if (step.kind !== 'step' && step.kind !== 'wait' && step.kind !== 'approve')
        this.#states.set(path, {
          status: 'running',
          uses,
          attempts: 0,
          startedAt,
          ...(before?.broken === undefined ? {} : { broken: before.broken }),
          ...(before?.finallyAt === undefined ? {} : { finallyAt: before.finallyAt }),
          ...(before?.part === undefined ? {} : { part: before.part }),
        });
      outputs = await this.#outputsOf(step, path, frame, begun);
    } catch (error) {
      this.#states.recordEnd(path, uses, startedAt, error);
      throw error;
    }
    this.#succeed(step, path, frame, startedAt, outputs);
    // Nothing reads them any more.
    if (step.kind === 'pipeline') this.#states.forgetOutputs(step.called.steps, `${path}/`);
    return false;
  }

  #succeed(
    step: PlanStep,
    path: string,
    frame: Frame,
    startedAt: string,
    outputs: JsonObject | null,
  ): void {
    const now = this.#states.get(path);
    const uses = usesOf(step);
    const after: StepState = {
      status: 'succeeded',
      uses,
      attempts: now?.attempts ?? 0,
      startedAt: now?.startedAt ?? startedAt,
      endedAt: this.#states.iso(),
      ...(now?.approval === undefined ? {} : { approval: now.approval }),
      ...(now?.part === undefined ? {} : { part: now.part }),
      ...(outputs === null ? {} : { outputs }),
    };
    try {
      this.#states.set(path, after);
    } catch (error) {
      this.#states.recordEnd(path, uses, startedAt, error);
      throw error;
    }
    exposeOutputs(step, after, frame);
  }

  #outputsOf(
    step: PlanStep,
    path: string,
    frame: Frame,
    begun?: Begun,
  ): Promise<JsonObject | null> {
    const run = { states: this.#states, powers: this.#powers };
    switch (step.kind) {
      case 'step':
        return runActivityStep(step, path, frame, run, begun);
      case 'foreach':
        return runForeach(step, path, frame, run, {
          runItem: (item, index) => this.#item(step, `${path}#${index}`, frame, item),
          moving: movingOf(step, path, frame, run, (request) => this.#part(request)),
        });
      case 'repeat':
        return runRepeat(step, path, run, {
          runIteration: (index) => this.#iteration(step, `${path}#${index}`, frame, index),
          moving: movingOf(step, path, frame, run, (request) => this.#part(request)),
        });
      case 'parallel':
        return this.#parallel(step, path, frame);
      case 'try':
        return this.#try(step, path, frame);
      case 'if':
        return this.#if(step, path, frame);
      case 'approve':
        return runApprove(step, path, frame, run);
      case 'wait':
        return runWait(step, path, frame, run);
      case 'stop':
        return this.#stop(step, path, frame);
      case 'pipeline':
        return runSubPipeline(step, path, frame, (request) => this.#part(request));
    }
  }

  #item(step: ForeachStep, path: string, frame: Frame, item: Json): Promise<JsonObject> {
    const { collect } = step;
    return this.#turn(step, path, frame, { [step.as]: item }, 'item', (inner) => ({
      collected:
        collect === undefined
          ? null
          : expression(path, 'collect', () => evaluate(collect, scopeOf(inner))),
    }));
  }

  #iteration(step: RepeatStep, path: string, frame: Frame, index: number): Promise<JsonObject> {
    const { collect, until, as } = step;
    const names = as === undefined ? {} : { [as]: index };
    return this.#turn(step, path, frame, names, 'iteration', (inner) => ({
      ...(collect === undefined
        ? {}
        : { collected: expression(path, 'collect', () => evaluate(collect, scopeOf(inner))) }),
      ...(until === undefined ? {} : { isLast: condition(path, until, inner) }),
    }));
  }

  /** The list of a block for one of its items or iterations; what `end` makes of it is all that stays. */
  async #turn(
    step: ForeachStep | RepeatStep,
    path: string,
    frame: Frame,
    names: Frame['names'],
    uses: string,
    end: (inner: Frame) => JsonObject,
  ): Promise<JsonObject> {
    const before = this.#states.get(path);
    if (before?.status === 'succeeded') {
      this.#passed(path, 'succeeded');
      return before.outputs ?? {};
    }
    if (before?.status === 'failed' || before?.status === 'stopped') throw endOf(path, before);
    const startedAt = before?.startedAt ?? this.#states.iso();
    const inner: Frame = { names: { ...frame.names, ...names }, steps: { ...frame.steps } };
    let outputs: JsonObject;
    try {
      this.#states.set(path, { status: 'running', uses, attempts: 0, startedAt });
      await this.block(step.steps, `${path}/`, inner);
      outputs = end(inner);
      const endedAt = this.#states.iso();
      this.#states.set(path, {
        status: 'succeeded',
        uses,
        attempts: 0,
        startedAt,
        endedAt,
        outputs,
      });
    } catch (error) {
      this.#states.recordEnd(path, uses, startedAt, error);
      throw error;
    } finally {
      this.#states.forgetOutputs(step.steps, `${path}/`);
    }
    this.#passed(path, 'succeeded');
    return outputs;
  }

  async #parallel(step: ParallelStep, path: string, frame: Frame): Promise<null> {
    // What a branch that ended well gave is there for those that need it, and for a `finally` around.
    this.#exposeInner(step, path, frame);
    const run = { states: this.#states, powers: this.#powers };
    await runParallel(step, path, run, async (index) => {
      const branch = step.branches[index]?.step;
      if (branch !== undefined) await this.block([branch], `${path}/`, frame);
    });
    return null;
  }

  async #try(step: TryStep, path: string, frame: Frame): Promise<null> {
    let failure: { readonly error: unknown } | null = null;
    try {
      await this.block(step.steps, `${path}/`, frame);
    } catch (error) {
      failure = { error: this.#expected(error) };
    }
    const caught = failure === null ? null : catcherOf(step, failure.error);
    if (caught !== null) {
      const { clause, index, error: seen } = caught;
      const inner: Frame = { names: { ...frame.names, [clause.as]: seen }, steps: frame.steps };
      failure = null;
      try {
        await this.block(clause.steps, `${path}${catchInfix(index)}`, inner);
      } catch (error) {
        failure = { error: this.#expected(error) };
      }
    }
    let isOverdue = false;
    try {
      await this.#powers.shielded(
        () => this.block(step.finally, `${path}/finally/`, frame),
        finallyLimit(step, path, this.#states, this.#powers, () => (isOverdue = true)),
      );
    } catch (error) {
      if (isOverdue && this.#powers.isCancellation(error)) {
        throw failure === null ? finallyTimedOut(path, step.finallyTimeoutMs ?? 0) : failure.error;
      }
      // The first cause is what a person must see; the failure in `finally` stays at its own step. But a stop is a
      // decision about the run, and must not be lost behind a failure that somebody around may catch.
      const isDecision =
        error instanceof StepEnd && error.ends === 'stopped' && failure?.error instanceof StepEnd;
      if (failure === null || isDecision || !(error instanceof StepEnd)) throw error;
    }
    if (failure !== null) throw failure.error;
    return null;
  }

  /** The error that ended a block; what is neither an end nor a cancellation is a bug, and thrown. */
  #expected(error: unknown): unknown {
    if (error instanceof StepEnd || this.#powers.isCancellation(error)) return error;
    throw error;
  }

  async #if(step: IfStep, path: string, frame: Frame): Promise<null> {
    if (condition(path, step.test, frame)) await this.block(step.then, `${path}/then/`, frame);
    else await this.block(step.else, `${path}/else/`, frame);
    return null;
  }

  async #stop(step: StopStep, path: string, frame: Frame): Promise<never> {
    const reason = expression(path, 'reason', () => evaluateTemplate(step.reason, scopeOf(frame)));
    throw new StepEnd(
      {
        code: 'STOPPED',
        message: typeof reason === 'string' ? reason : JSON.stringify(reason),
        step: path,
      },
      'stopped',
    );
  }

  /** Runs what a step calls: where there is a power for it elsewhere, with what is known of its steps, else in place. */
  async #part(request: Omit<PartRequest, 'steps' | 'until'>): Promise<RunResult> {
    const { path, plan } = request;
    const runPart = this.#powers.runPart?.bind(this.#powers);
    if (runPart === undefined) {
      return { status: 'succeeded', outputs: await this.plan(plan, `${path}/`) };
    }
    const until = this.#until;
    try {
      return await runPart({
        ...request,
        steps: this.#states.inside(path),
        ...(until !== null && isInside(until, path) ? { until } : {}),
      });
    } finally {
      // From here on the part's own state tells of its steps.
      this.#states.forgetInside(path);
    }
  }

  /** Ends the run behind the step that `until` names, also where the run did not come by it. */
  #passed(path: string, how: 'succeeded' | 'skipped'): void {
    const until = this.#until;
    if (until === null || (until !== path && !isInside(until, path))) return;
    const message =
      until === path
        ? `The run was to go until ${until}, which ${how === 'skipped' ? 'was skipped' : 'succeeded'}.`
        : `The run was to go until ${until}; ${path} ended without reaching it.`;
    throw new StepEnd({ code: 'UNTIL_REACHED', message, step: path }, 'stopped');
  }

  /** Gives a step that ended well in an earlier part of the run the place in the frame that it would have. */
  #expose(step: PlanStep, path: string, state: StepState, frame: Frame): void {
    exposeOutputs(step, state, frame);
    this.#exposeInner(step, path, frame);
  }

  /** What succeeded inside a block is there, however the block ended. */
  #exposeInner(step: PlanStep, path: string, frame: Frame): void {
    // A step that runs many times has no one output.
    if (hasItems(step)) return;
    for (const { steps, infix } of innerBlocks(step)) {
      for (const inner of steps) {
        const innerPath = `${path}${infix}${inner.key}`;
        const state = this.#states.get(innerPath);
        if (state?.status === 'succeeded') this.#expose(inner, innerPath, state, frame);
        else if (state !== undefined) this.#exposeInner(inner, innerPath, frame);
      }
    }
  }
}

/** The step type of a step, or the kind of a block. */
function usesOf(step: PlanStep): string {
  return step.kind === 'step' ? step.uses : step.kind;
}

function exposeOutputs(step: PlanStep, state: StepState, frame: Frame): void {
  if (step.id !== undefined && state.outputs !== undefined) frame.steps[step.id] = state.outputs;
}

/** What is left of the time for a `finally`; undefined where it has none of its own, or nothing to do. */
function finallyLimit(
  { finally: steps, finallyTimeoutMs }: TryStep,
  path: string,
  states: StepStates,
  powers: Powers,
  passed: () => void,
): ShieldLimit | undefined {
  if (finallyTimeoutMs === undefined || steps.length === 0) return undefined;
  const endsMs = Date.parse(states.beginFinally(path)) + finallyTimeoutMs;
  return { ms: endsMs - powers.now(), summary: `${path}: time for its finally`, passed };
}

/** The clause that takes a failure, and the error as its steps see it; a stop and a cancellation are no failures. */
function catcherOf(
  { catch: clauses = [] }: TryStep,
  error: unknown,
): { readonly clause: CatchClause; readonly index: number; readonly error: JsonObject } | null {
  if (!(error instanceof StepEnd) || error.ends !== 'failed') return null;
  const { code, message, step, hint } = error.report;
  const index = clauses.findIndex(({ errors }) => errors === undefined || errors.includes(code));
  const clause = clauses[index];
  if (clause === undefined) return null;
  return { clause, index, error: { code, message, step: step ?? '', hint: hint ?? '' } };
}

/** The end that a step already has in the state. */
function endOf(path: string, { status, error }: StepState): StepEnd {
  return new StepEnd(
    error ?? { code: 'INTERNAL', message: `${path} ended.` },
    status === 'stopped' ? 'stopped' : 'failed',
  );
}
