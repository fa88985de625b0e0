/**
 * Walks a Plan as its blocks nest, and decides only what may start next. It holds no timer, no clock
 * and no I/O of its own: it is handed its powers.
 *
 * Invariants:
 * 1. The RunState is its only memory. Started from any RunState it goes on from there: a step that is
 *    recorded as succeeded or skipped is not run again.
 * 2. Steps start in document order, and items in list order, whichever result came first.
 * 3. `finally` runs after success, failure, stop and cancellation, and cannot be cancelled.
 * 4. A step's input holds what its `with` names, nothing else: the cost of a step does not grow with the plan.
 */
import type { ErrorReport } from './error.js';
import { evaluate, evaluateTemplate } from './evaluate.js';
import type { Expr, Scope } from './expression.js';
import { isJsonObject, type Json, type JsonObject } from './json.js';
import type {
  ActivityStep,
  ForeachStep,
  IfStep,
  Plan,
  PlanStep,
  RetryOptions,
  StopStep,
  TryStep,
} from './plan.js';
import {
  FINALLY_RESERVE_BYTES,
  MAX_INPUT_BYTES,
  MAX_OUTPUT_BYTES,
  MAX_RUN_OUTPUT_BYTES,
  MAX_STATE_BYTES,
  type RunResult,
  type RunState,
  type StepState,
} from './run-state.js';
import { jsonSizeBytes } from './json-size.js';
import type { Powers } from './powers.js';
import { assertSize, endsAs, expression, StepEnd, timedOut } from './step-end.js';

/** Runs a plan from a state to its end. Rejects only with a cancellation, or with an error that is a bug. */
export async function interpret(
  plan: Plan,
  initial: RunState,
  run: { readonly runId: string; readonly roundId: string },
  powers: Powers,
): Promise<RunResult> {
  const interpreter = new Interpreter(plan, initial, powers);
  const frame: Frame = {
    names: {
      inputs: plan.inputs,
      run: { id: run.runId, round: run.roundId, pipeline: plan.pipeline },
    },
    steps: {},
  };
  try {
    await interpreter.block(plan.steps, '', frame);
    const outputs: Record<string, Json> = {};
    for (const [name, template] of plan.outputs) {
      outputs[name] = expression(null, `output ${name}`, () =>
        evaluateTemplate(template, scopeOf(frame)),
      );
    }
    assertSize('The outputs of the run', outputs, MAX_RUN_OUTPUT_BYTES, null);
    return { status: 'succeeded', outputs };
  } catch (error) {
    if (!(error instanceof StepEnd)) throw error;
    return { status: error.ends, outputs: {}, error: error.report };
  }
}

/** Names and step outputs that expressions can see at one place. */
interface Frame {
  readonly names: Scope;
  readonly steps: { [id: string]: Json };
}

function scopeOf(frame: Frame): Scope {
  return { ...frame.names, steps: frame.steps };
}

class Interpreter {
  readonly #powers: Powers;
  readonly #steps: Map<string, StepState>;
  #stateBytes: number;

  constructor(plan: Plan, initial: RunState, powers: Powers) {
    this.#powers = powers;
    this.#steps = new Map(Object.entries(initial.steps));
    this.#stateBytes = jsonSizeBytes(plan.inputs);
    for (const [path, state] of this.#steps) this.#stateBytes += sizeOf(path, state);
  }

  async block(steps: readonly PlanStep[], prefix: string, frame: Frame): Promise<void> {
    for (const step of steps) await this.#step(step, `${prefix}${step.key}`, frame);
  }

  async #step(step: PlanStep, path: string, frame: Frame): Promise<void> {
    const before = this.#steps.get(path);
    if (before?.status === 'succeeded') return this.#expose(step, before, frame);
    if (before?.status === 'skipped') return;
    if (before?.status === 'failed' || before?.status === 'stopped') {
      throw new StepEnd(
        before.error ?? { code: 'INTERNAL', message: `${path} ended.` },
        before.status,
      );
    }
    const startedAt = before?.startedAt ?? this.#iso();
    const uses = step.kind === 'step' ? step.uses : step.kind;
    try {
      if (step.if !== undefined && !condition(path, step.if, frame)) {
        this.#set(path, { status: 'skipped', uses, attempts: 0 });
        return;
      }
      if (step.kind !== 'step')
        this.#set(path, { status: 'running', uses, attempts: 0, startedAt });
      const outputs = await this.#run(step, path, frame, before);
      const now = this.#steps.get(path);
      this.#set(path, {
        status: 'succeeded',
        uses,
        attempts: now?.attempts ?? 0,
        startedAt: now?.startedAt ?? startedAt,
        endedAt: this.#iso(),
        ...(outputs === null ? {} : { outputs }),
      });
      const after = this.#steps.get(path);
      if (after !== undefined) this.#expose(step, after, frame);
    } catch (error) {
      this.#recordEnd(path, uses, startedAt, error);
      throw error;
    }
  }

  #run(
    step: PlanStep,
    path: string,
    frame: Frame,
    before: StepState | undefined,
  ): Promise<JsonObject | null> {
    switch (step.kind) {
      case 'step':
        return this.#activity(step, path, frame, before);
      case 'foreach':
        return this.#foreach(step, path, frame);
      case 'try':
        return this.#try(step, path, frame);
      case 'if':
        return this.#if(step, path, frame);
      case 'stop':
        return this.#stop(step, path, frame);
    }
  }

  /** Tries a step until it succeeds, its code is final, or its tries or its time are used up. */
  async #activity(
    step: ActivityStep,
    path: string,
    frame: Frame,
    before: StepState | undefined,
  ): Promise<JsonObject> {
    const scope = scopeOf(frame);
    const input: Record<string, Json> = {};
    for (const [name, template] of step.with) {
      const value = expression(path, `input ${name}`, () => evaluateTemplate(template, scope));
      if (value === null && step.optional.includes(name)) continue;
      input[name] = value;
    }
    assertSize(`The input of ${path}`, input, MAX_INPUT_BYTES, path);
    const summaryTemplate = step.summary;
    const summary =
      summaryTemplate === undefined
        ? null
        : expression(path, 'summary', () => evaluateTemplate(summaryTemplate, scope));
    const startedAt = before?.startedAt ?? this.#iso();
    const deadline = Date.parse(startedAt) + step.options.timeoutMs;
    for (let start = Math.max(1, before?.attempts ?? 1); ; start += 1) {
      const remainingMs = deadline - this.#powers.now();
      if (remainingMs <= 0) throw timedOut(path, step.options.timeoutMs);
      this.#set(path, { status: 'running', uses: step.uses, attempts: start, startedAt });
      const outcome = await this.#powers.runStep({
        path,
        uses: step.uses,
        start,
        input,
        options: step.options,
        remainingMs,
        queue: hostQueue(step, input),
        summary: typeof summary === 'string' ? summary : null,
      });
      if (outcome.kind === 'succeeded') {
        assertSize(`The outputs of ${path}`, outcome.outputs, MAX_OUTPUT_BYTES, path);
        return outcome.outputs;
      }
      const report: ErrorReport = { ...outcome.error, step: path };
      const { retry } = step.options;
      const delayMs = Math.max(
        outcome.retryAfterMs ?? 0,
        backoffMs(retry, start, this.#powers.random()),
      );
      const again =
        outcome.retryable &&
        start < retry.attempts &&
        !retry.never.includes(report.code) &&
        this.#powers.now() + delayMs < deadline;
      if (!again) throw new StepEnd(report, endsAs(report.code));
      this.#set(path, {
        status: 'running',
        uses: step.uses,
        attempts: start,
        startedAt,
        error: report,
      });
      await this.#powers.sleep(delayMs, `${path}: again after ${report.code}`);
    }
  }

  async #foreach(step: ForeachStep, path: string, frame: Frame): Promise<JsonObject> {
    const items = expression(path, 'foreach', () => evaluate(step.items, scopeOf(frame)));
    if (!Array.isArray(items)) {
      throw new StepEnd(
        { code: 'EXPRESSION_FAILED', message: `foreach of ${path} needs a list.`, step: path },
        'failed',
      );
    }
    type Item = { readonly collected: Json } | { readonly failure: StepEnd };
    const done = Array.from<unknown, Item | undefined>({ length: items.length }, () => undefined);
    let next = 0;
    let first: unknown;
    let broken = false;

    await this.#powers.scoped(async (cancel) => {
      const breakOff = (error: unknown): void => {
        if (broken) return;
        broken = true;
        first = error;
        cancel();
      };
      const lane = async (): Promise<void> => {
        while (!broken && next < items.length) {
          const index = next;
          next += 1;
          try {
            done[index] = {
              collected: await this.#item(step, path, frame, items[index] ?? null, index),
            };
          } catch (error) {
            // A stop is a decision about the run, not about the item: it is never waited out.
            if (error instanceof StepEnd && error.ends === 'failed' && step.fail === 'wait') {
              done[index] = { failure: error };
            } else {
              breakOff(error);
            }
          }
        }
      };
      await Promise.all(Array.from({ length: Math.min(step.limit, items.length) }, lane));
    });
    if (broken) throw first;

    const results: Json[] = [];
    const failures: Json[] = [];
    let firstFailure: StepEnd | undefined;
    done.forEach((item, index) => {
      if (item === undefined) return;
      if ('collected' in item) results.push(item.collected);
      else {
        firstFailure ??= item.failure;
        failures.push({
          index,
          code: item.failure.report.code,
          message: item.failure.report.message,
        });
      }
    });
    if (firstFailure !== undefined && results.length === 0) {
      const { report } = firstFailure;
      throw new StepEnd(
        {
          code: 'FOREACH_FAILED',
          message: `All ${failures.length} items of ${path} failed; the first: ${report.code}: ${report.message}`,
          ...(report.hint === undefined ? {} : { hint: report.hint }),
          step: report.step ?? path,
        },
        'failed',
      );
    }
    return { results, failures };
  }

  async #item(
    step: ForeachStep,
    path: string,
    frame: Frame,
    item: Json,
    index: number,
  ): Promise<Json> {
    const itemPath = `${path}#${index}`;
    const before = this.#steps.get(itemPath);
    if (before?.status === 'succeeded') return before.outputs?.['collected'] ?? null;
    if (before?.status === 'failed' || before?.status === 'stopped') {
      throw new StepEnd(
        before.error ?? { code: 'INTERNAL', message: `${itemPath} ended.` },
        before.status,
      );
    }
    const startedAt = before?.startedAt ?? this.#iso();
    this.#set(itemPath, { status: 'running', uses: 'item', attempts: 0, startedAt });
    const inner: Frame = { names: { ...frame.names, [step.as]: item }, steps: { ...frame.steps } };
    try {
      await this.block(step.steps, `${itemPath}/`, inner);
      const collect = step.collect;
      const collected =
        collect === undefined
          ? null
          : expression(itemPath, 'collect', () => evaluate(collect, scopeOf(inner)));
      this.#set(itemPath, {
        status: 'succeeded',
        uses: 'item',
        attempts: 0,
        startedAt,
        endedAt: this.#iso(),
        outputs: { collected },
      });
      return collected;
    } catch (error) {
      this.#recordEnd(itemPath, 'item', startedAt, error);
      throw error;
    } finally {
      this.#forgetOutputs(step.steps, `${itemPath}/`);
    }
  }

  async #try(step: TryStep, path: string, frame: Frame): Promise<null> {
    let failure: { readonly error: unknown } | null = null;
    try {
      await this.block(step.steps, `${path}/`, frame);
    } catch (error) {
      if (!(error instanceof StepEnd) && !this.#powers.isCancellation(error)) throw error;
      failure = { error };
    }
    try {
      await this.#powers.shielded(() => this.block(step.finally, `${path}/finally/`, frame));
    } catch (error) {
      // The first cause is what a person must see; the failure in `finally` stays at its own step.
      if (failure === null || !(error instanceof StepEnd)) throw error;
    }
    if (failure !== null) throw failure.error;
    return null;
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

  #expose(step: PlanStep, state: StepState, frame: Frame): void {
    if (step.id !== undefined && state.outputs !== undefined) frame.steps[step.id] = state.outputs;
  }

  #recordEnd(path: string, uses: string, startedAt: string, error: unknown): void {
    const now = this.#steps.get(path);
    const end = {
      uses,
      attempts: now?.attempts ?? 0,
      startedAt: now?.startedAt ?? startedAt,
      endedAt: this.#iso(),
    };
    if (error instanceof StepEnd) {
      const report =
        error.report.step === undefined ? { ...error.report, step: path } : error.report;
      this.#set(path, { ...end, status: error.ends, error: report });
    } else if (this.#powers.isCancellation(error)) {
      this.#set(path, { ...end, status: 'cancelled' });
    }
  }

  /** When an iteration has ended only its status and what it collected stay. */
  #forgetOutputs(steps: readonly PlanStep[], prefix: string): void {
    for (const step of steps) {
      const path = `${prefix}${step.key}`;
      this.#forget(path);
      if (step.kind === 'try') {
        this.#forgetOutputs(step.steps, `${path}/`);
        this.#forgetOutputs(step.finally, `${path}/finally/`);
      } else if (step.kind === 'if') {
        this.#forgetOutputs(step.then, `${path}/then/`);
        this.#forgetOutputs(step.else, `${path}/else/`);
      } else if (step.kind === 'foreach') {
        for (let index = 0; this.#steps.has(`${path}#${index}`); index += 1) {
          this.#forget(`${path}#${index}`);
        }
      }
    }
  }

  #forget(path: string): void {
    const state = this.#steps.get(path);
    if (state?.outputs === undefined) return;
    const { outputs: _dropped, ...rest } = state;
    this.#stateBytes += sizeOf(path, rest) - sizeOf(path, state);
    this.#steps.set(path, rest);
  }

  #set(path: string, state: StepState): void {
    const before = this.#steps.get(path);
    this.#stateBytes += sizeOf(path, state) - (before === undefined ? 0 : sizeOf(path, before));
    this.#steps.set(path, state);
    this.#powers.changed(this.#steps);
    const goesOn = state.status === 'running' || state.status === 'succeeded';
    // `finally` is a reserved id, so only a block of that name has it in its path.
    const reserve = path.includes('/finally/') ? FINALLY_RESERVE_BYTES : 0;
    if (this.#stateBytes > MAX_STATE_BYTES + reserve && goesOn) {
      throw new StepEnd(
        {
          code: 'STATE_TOO_LARGE',
          message: `The state of the run has grown beyond ${MAX_STATE_BYTES} bytes at ${path}.`,
          hint: 'Collect less, or put large values into files and pass their FileRef.',
          step: path,
        },
        'failed',
      );
    }
  }

  #iso(): string {
    return new Date(this.#powers.now()).toISOString();
  }
}

/** About what a step takes in the state and, its outputs left out, in the view of the run. */
function sizeOf(path: string, { uses, outputs, error }: StepState): number {
  return (
    path.length +
    uses.length +
    150 +
    (outputs === undefined ? 0 : jsonSizeBytes(outputs)) +
    (error === undefined ? 0 : jsonSizeBytes({ ...error }))
  );
}

/** Exponential back-off with a jitter of a quarter, so that runs that failed together do not return together. */
function backoffMs(retry: RetryOptions, start: number, random: number): number {
  const full = Math.min(retry.mostMs, retry.firstMs * retry.factor ** (start - 1));
  return Math.round(full * (0.75 + 0.5 * random));
}

/** The queue of the first Workspace that the input holds at one of the step's host paths. */
function hostQueue(step: ActivityStep, input: JsonObject): string | null {
  for (const hostPath of step.host) {
    let value: Json | undefined = input;
    for (const key of hostPath) value = isJsonObject(value) ? value[key] : undefined;
    if (isJsonObject(value) && typeof value['queue'] === 'string') return value['queue'];
  }
  return null;
}

function condition(path: string, expr: Expr, frame: Frame): boolean {
  const value = expression(path, 'if', () => evaluate(expr, scopeOf(frame)));
  if (typeof value === 'boolean') return value;
  throw new StepEnd(
    { code: 'EXPRESSION_FAILED', message: `The condition of ${path} is not a bool.`, step: path },
    'failed',
  );
}
