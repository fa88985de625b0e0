/** A step that cannot go on by itself waits for a person, in the state `parked`, and its timeout with it. */
import { asksPerson, isStepErrorCode, STEP_ERRORS } from './error.js';
import { isJsonObject, type JsonObject } from './json.js';
import type { ActivityStep } from './plan.js';
import type { Powers, StepDecision } from './powers.js';
import type { StepState } from './run-state.js';
import { StepEnd } from './step-end.js';
import type { StepStates } from './step-states.js';

/** A step that waits gives up this long before its time is over: what is left then is no time to act in. */
const LAST_MOMENTS_MS = 5_000;

/** True when this end of the step is for a person to decide. */
export function parks(step: ActivityStep, path: string, { report }: StepEnd): boolean {
  return (
    step.options.onFailure === 'ask' ||
    asksPerson(report.code) ||
    (isUnanswered(step, report.code) && !path.includes('/finally/'))
  );
}

/**
 * An effect whose tries or time are used up without an answer: whether it was done may not be known, and what it was to
 * be done with is there. In `finally` nobody is waited for: what is left open there ends by itself.
 */
function isUnanswered({ effect }: ActivityStep, code: string): boolean {
  if (effect !== true) return false;
  return tellsNothing(code) || (isStepErrorCode(code) && STEP_ERRORS[code].retryable);
}

/** True for an end that the step itself did not choose: its time was over, or it came upon a bug until then. */
function tellsNothing(code: string): boolean {
  return code === 'STEP_TIMEOUT' || code === 'INTERNAL';
}

/** Before the end of what an effect is done with; the step itself knows the margin that is set, its timeout does not. */
const EXPIRY_MARGIN_MS = 30_000;

/**
 * Until when somebody may be asked about an effect that timed out: a claim among its inputs must not run out
 * meanwhile. Undefined without one, or when it has ended: then there is no hurry.
 */
export function askUntilOf(
  { effect }: ActivityStep,
  code: string,
  input: JsonObject,
  nowMs: number,
): number | undefined {
  if (effect !== true || !tellsNothing(code)) return undefined;
  const untilMs = Object.values(input).flatMap((value) => {
    const expiresAt = isJsonObject(value) ? value['expiresAt'] : undefined;
    const expiresMs = typeof expiresAt === 'string' ? Date.parse(expiresAt) : Number.NaN;
    return expiresMs - EXPIRY_MARGIN_MS > nowMs ? [expiresMs - EXPIRY_MARGIN_MS] : [];
  });
  return untilMs.length === 0 ? undefined : Math.min(...untilMs);
}

/**
 * Parks a step with the end that it would have, until somebody has decided; null when the time for it has passed. A
 * state that says parked already is waited on as it is.
 */
export async function park(
  step: ActivityStep,
  path: string,
  end: StepEnd,
  { states, powers }: { readonly states: StepStates; readonly powers: Powers },
): Promise<StepDecision | null> {
  const before = states.get(path);
  if (before?.status !== 'parked') {
    const untilMs = end.askUntilMs;
    const until = untilMs === undefined ? undefined : new Date(untilMs).toISOString();
    states.set(path, {
      ...startsOf(before),
      status: 'parked',
      uses: step.uses,
      startedAt: before?.startedAt ?? states.iso(),
      error: end.report,
      parkedAt: states.iso(),
      ...(until === undefined
        ? {}
        : { askUntil: until, note: `asks until ${until}, then the run ends as ${end.ends}` }),
    });
  }
  const decision = await powers.decide(path, end.report, end.askUntilMs ?? null);
  if (decision?.action === 'retry') unpark(step, path, states, powers.now());
  return decision;
}

/** The end with which a parked step waits. */
export function parkedEnd({ error, askUntil }: StepState, ends: StepEnd['ends']): StepEnd {
  return new StepEnd(
    error ?? { code: 'INTERNAL', message: 'The step was parked without an error.' },
    ends,
    askUntil === undefined ? undefined : Date.parse(askUntil),
  );
}

/** Between two starts again: tries are counted anew, and the time for which the step was parked is given back. */
function unpark(step: ActivityStep, path: string, states: StepStates, nowMs: number): void {
  const parked = states.get(path);
  const startedAt = parked?.startedAt ?? states.iso();
  const parkedMs = nowMs - Date.parse(parked?.parkedAt ?? states.iso());
  const movedMs = (parked?.movedMs ?? 0) + parkedMs;
  const sinceStartMs = nowMs - Date.parse(startedAt);
  const isSpent = sinceStartMs + LAST_MOMENTS_MS >= step.options.timeoutMs + movedMs;
  const spentByProgram = parked?.error?.code === 'PROGRAM_TIMEOUT' ? step.options.timeoutMs : 0;
  const attempts = parked?.attempts ?? 0;
  states.set(path, {
    status: 'running',
    uses: step.uses,
    attempts,
    uncounted: attempts,
    startedAt,
    // Without any time left there would be nothing to decide: it then has the whole timeout once more.
    movedMs:
      step.program === true
        ? (parked?.movedMs ?? 0) + spentByProgram
        : isSpent
          ? sinceStartMs
          : movedMs,
    ...(parked?.error === undefined ? {} : { error: parked.error }),
  });
}

/** The members of a state that count starts and time. */
export function startsOf(
  state: StepState | undefined,
): Pick<StepState, 'attempts' | 'uncounted' | 'restarts' | 'movedMs'> {
  return {
    attempts: state?.attempts ?? 0,
    ...(state?.uncounted === undefined ? {} : { uncounted: state.uncounted }),
    ...(state?.restarts === undefined ? {} : { restarts: state.restarts }),
    ...(state?.movedMs === undefined ? {} : { movedMs: state.movedMs }),
  };
}
