/**
 * One `uses` step: starts until it succeeds, its code is final, or its tries or its time are used up; then, where the
 * end is for a person to decide, parked.
 *
 * The RunState says at every moment which start is next (see `StepState.attempts`), so that a run that goes on from a
 * state neither repeats a start nor skips one.
 */
import { restartsStep, type ErrorReport } from './error.js';
import { evaluateTemplate } from './evaluate.js';
import { scopeOf, summaryOf, type Frame } from './frame.js';
import { isJsonObject, type Json, type JsonObject } from './json.js';
import { askUntilOf, parkedEnd, park, parks, startsOf } from './parking.js';
import type { ActivityStep, RetryOptions } from './plan.js';
import type { Powers, StepOutcome, StepRequest } from './powers.js';
import { MAX_INPUT_BYTES, MAX_OUTPUT_BYTES, type StepState } from './run-state.js';
import { assertSize, endsAs, expression, StepEnd, timedOut } from './step-end.js';
import type { StepStates } from './step-states.js';

/** Starts of one step that may be lost, until a person decides. A pause is a person's doing, and has no such limit. */
const MAX_RESTARTS = 10;

/** Pause before the next start of a program that was lost: what took it may still be going on. */
const LOST_PAUSE_MS = 1_000;

interface Run {
  readonly states: StepStates;
  readonly powers: Powers;
}

/** What the first start of a step has come to: another is due, or there is an error. */
export type Begun = { readonly starts: Starts } | { readonly error: unknown };

/** The outputs of the step; `begun` where its first start is over. Throws a StepEnd, or a cancellation. */
export async function runActivityStep(
  step: ActivityStep,
  path: string,
  frame: Frame,
  run: Run,
  begun?: Begun,
): Promise<JsonObject> {
  let first = begun;
  for (;;) {
    try {
      const before = run.states.get(path);
      if (before?.status === 'parked') throw parkedEnd(before, endsAs(before.error?.code ?? ''));
      return await runStarts(step, path, frame, run, first);
    } catch (error) {
      first = undefined;
      if (!(error instanceof StepEnd) || !parks(step, path, error)) throw error;
      const decision = await park(step, path, error, run);
      if (decision === null || decision.action === 'fail') throw error;
      if (decision.action === 'value') {
        assertSize(`The outputs of ${path}`, decision.outputs, MAX_OUTPUT_BYTES, path);
        return decision.outputs;
      }
    }
  }
}

async function runStarts(
  step: ActivityStep,
  path: string,
  frame: Frame,
  run: Run,
  begun: Begun | undefined,
): Promise<JsonObject> {
  if (begun !== undefined && 'error' in begun) throw begun.error;
  const starts = begun?.starts ?? new Starts(step, path, frame, run);
  for (;;) {
    const { pauseMs, pauseSummary } = starts;
    if (pauseMs > 0) await run.powers.sleep(pauseMs, pauseSummary);
    const outputs = starts.take(await starts.begin());
    if (outputs !== null) return outputs;
  }
}

/** The starts of one step, each of which is begun and then taken. */
export class Starts {
  readonly #step: ActivityStep;
  readonly #path: string;
  readonly #run: Run;
  readonly #input: JsonObject;
  readonly #summary: string | null;
  readonly #startedAt: string;
  readonly #movedMs: number | undefined;
  /** When its time is over; null for a program, whose host keeps its time. */
  readonly #deadlineMs: number | null;
  #counts: Counts & Pick<StepState, 'attempts'>;
  /** Before the next one. */
  #pauseMs: number;
  #pauseCode: string;

  /** Throws a StepEnd where the step can have no input. */
  constructor(step: ActivityStep, path: string, frame: Frame, run: Run) {
    const { states, powers } = run;
    this.#step = step;
    this.#path = path;
    this.#run = run;
    ({ input: this.#input, summary: this.#summary } = evaluateInput(step, path, frame));
    const before = states.get(path);
    this.#startedAt = before?.startedAt ?? states.iso();
    this.#movedMs = before?.movedMs;
    this.#deadlineMs =
      step.program === true
        ? null
        : Date.parse(this.#startedAt) + step.options.timeoutMs + (before?.movedMs ?? 0);
    this.#counts = { ...startsOf(before), attempts: nextStart(before) };
    this.#pauseMs = Date.parse(before?.againAt ?? '') - powers.now();
    this.#pauseCode = before?.error?.code ?? '';
  }

  get pauseMs(): number {
    return this.#pauseMs;
  }

  get pauseSummary(): string {
    return `${this.#path}: again after ${this.#pauseCode}`;
  }

  /** Begins the next one. Throws a StepEnd where no time is left for it. */
  begin(): Promise<StepOutcome> {
    const { states, powers } = this.#run;
    const step = this.#step;
    const path = this.#path;
    const input = this.#input;
    const remainingMs = this.#deadlineMs === null ? null : this.#deadlineMs - powers.now();
    if (remainingMs !== null && remainingMs <= 0) {
      const askUntilMs = askUntilOf(step, 'STEP_TIMEOUT', input, powers.now());
      throw timedOut(path, step.options.timeoutMs, askUntilMs);
    }
    const startedAt = this.#startedAt;
    states.set(path, { ...this.#counts, status: 'running', uses: step.uses, startedAt });
    const request = {
      path,
      uses: step.uses,
      start: this.#counts.attempts,
      input,
      options: step.options,
      remainingMs,
      ...programOf(step, this.#movedMs),
      queue: hostQueue(step, input),
      summary: this.#summary,
    };
    return powers.runStep(request, (text) => states.note(path, text));
  }

  /** The outputs, or null where another start is due. Throws a StepEnd where none is. */
  take(outcome: StepOutcome): JsonObject | null {
    const { states, powers } = this.#run;
    const step = this.#step;
    const path = this.#path;
    if (outcome.kind === 'succeeded') {
      assertSize(`The outputs of ${path}`, outcome.outputs, MAX_OUTPUT_BYTES, path);
      return outcome.outputs;
    }
    const report: ErrorReport = { ...outcome.error, step: path };
    const next = afterFailure(step, outcome, this.#counts, powers.random());
    const deadlineMs = this.#deadlineMs;
    if (next === null || (deadlineMs !== null && powers.now() + next.delayMs >= deadlineMs)) {
      const askUntilMs =
        outcome.askUntilMs ?? askUntilOf(step, report.code, this.#input, powers.now());
      throw new StepEnd(withRestarts(report, this.#counts), endsAs(report.code), askUntilMs);
    }
    const counts = { ...this.#counts, ...next.counts };
    const againAt = new Date(powers.now() + next.delayMs).toISOString();
    states.set(path, {
      ...counts,
      status: 'running',
      uses: step.uses,
      startedAt: this.#startedAt,
      error: report,
      ...(next.delayMs > 0 ? { againAt } : {}),
    });
    this.#pauseMs = next.delayMs;
    this.#pauseCode = report.code;
    this.#counts = { ...counts, attempts: counts.attempts + 1 };
    return null;
  }
}

function evaluateInput(
  step: ActivityStep,
  path: string,
  frame: Frame,
): { input: JsonObject; summary: string | null } {
  const scope = scopeOf(frame);
  const input: Record<string, Json> = {};
  for (const [name, template] of step.with) {
    const value = expression(path, `input ${name}`, () => evaluateTemplate(template, scope));
    if (value === null && step.optional.includes(name)) continue;
    input[name] = value;
  }
  assertSize(`The input of ${path}`, input, MAX_INPUT_BYTES, path);
  return { input, summary: summaryOf(step.summary, path, frame) };
}

/** The number of the start that is under way, or of the next one where the newest has ended. */
function nextStart(before: StepState | undefined): number {
  if (before === undefined) return 1;
  const hasEnded = before.error !== undefined || before.status === 'cancelled';
  return hasEnded ? before.attempts + 1 : Math.max(1, before.attempts);
}

function programOf({ program, options }: ActivityStep, movedMs = 0): Pick<StepRequest, 'program'> {
  if (program !== true) return {};
  const { timeoutMs, attemptTimeoutMs, gpus } = options;
  return {
    program: {
      timeoutMs: timeoutMs + movedMs,
      ...(attemptTimeoutMs === undefined ? {} : { attemptTimeoutMs }),
      ...(gpus === undefined ? {} : { gpus }),
    },
  };
}

type Counts = Pick<StepState, 'attempts' | 'uncounted' | 'restarts' | 'movedMs'>;

/** When the next start begins and what then counts; null when this end is final. */
function afterFailure(
  step: ActivityStep,
  { error: { code }, retryable, retryAfterMs }: StepOutcome & { kind: 'failed' },
  { attempts, uncounted = 0, restarts = 0 }: Counts,
  random: number,
): { delayMs: number; counts: Partial<Counts> } | null {
  const { retry } = step.options;
  if (retry.never.includes(code)) return null;
  if (restartsStep(code)) {
    if (code === 'PROGRAM_PAUSED') return { delayMs: 0, counts: { uncounted: uncounted + 1 } };
    if (restarts >= MAX_RESTARTS) return null;
    const counts = { uncounted: uncounted + 1, restarts: restarts + 1 };
    return { delayMs: LOST_PAUSE_MS, counts };
  }
  const tries = attempts - uncounted;
  if (!retryable || tries >= retry.attempts) return null;
  return { delayMs: Math.max(retryAfterMs ?? 0, backoffMs(retry, tries, random)), counts: {} };
}

/** A code that restarts is final only when it came too often: that must be said. */
function withRestarts(report: ErrorReport, { restarts = 0 }: Counts): ErrorReport {
  if (!restartsStep(report.code) || restarts < MAX_RESTARTS) return report;
  return { ...report, message: `${report.message} It was restarted ${restarts} times.` };
}

/** Exponential back-off with a jitter of a quarter, so that runs that failed together do not return together. */
function backoffMs(retry: RetryOptions, tries: number, random: number): number {
  const full = Math.min(retry.mostMs, retry.firstMs * retry.factor ** (tries - 1));
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
