/** A durable pause: when it is over is settled when it begins. */
import { isTimestamp, parseDuration } from './duration.js';
import { evaluateTemplate } from './evaluate.js';
import { scopeOf, type Frame } from './frame.js';
import type { WaitStep } from './plan.js';
import type { Powers } from './powers.js';
import { expression, StepEnd } from './step-end.js';
import type { StepStates } from './step-states.js';

/** A time that has passed is not waited for. */
export async function runWait(
  step: WaitStep,
  path: string,
  frame: Frame,
  { states, powers }: { readonly states: StepStates; readonly powers: Powers },
): Promise<null> {
  const before = states.get(path);
  const waitsUntil =
    before?.waitsUntil ?? new Date(momentOf(step, path, 'wait', frame, powers.now())).toISOString();
  states.set(path, {
    status: 'running',
    uses: step.kind,
    attempts: 0,
    startedAt: before?.startedAt ?? states.iso(),
    waitsUntil,
    note: `waits until ${waitsUntil}`,
  });
  const leftMs = Date.parse(waitsUntil) - powers.now();
  // One that had begun may have been cancelled since: only sleeping tells.
  const isResumed = before?.waitsUntil !== undefined;
  if (leftMs > 0 || isResumed)
    await powers.sleep(Math.max(0, leftMs), `${path}: waits until ${waitsUntil}`);
  return null;
}

/** A server refuses a timer that no Duration can hold, again and again; nobody waits so long. */
export const LONGEST_WAIT_MS = 10 * 365 * 24 * 60 * 60 * 1_000;

/** When a time that begins now is over, in milliseconds since the epoch. `place` names it in messages. */
export function momentOf(
  step: Pick<WaitStep, 'for' | 'until'>,
  path: string,
  place: string,
  frame: Frame,
  nowMs: number,
): number {
  const template = step.for ?? step.until ?? { t: 'value', value: null };
  const value = expression(path, place, () => evaluateTemplate(template, scopeOf(frame)));
  const text = typeof value === 'string' ? value : '';
  const untilMs = isTimestamp(text) ? Date.parse(text) : Number.NaN;
  const ms = step.for === undefined ? untilMs : nowMs + (parseDuration(text) ?? Number.NaN);
  if (ms <= nowMs + LONGEST_WAIT_MS) return ms;
  const what = step.for === undefined ? 'timestamp' : 'duration';
  throw new StepEnd(
    {
      code: 'EXPRESSION_FAILED',
      message: `${path} waits for ${JSON.stringify(value).slice(0, 100)}, which is no ${what}, or too far away.`,
      hint:
        what === 'duration'
          ? 'A duration is a number with a unit, such as 90s or 1h30m.'
          : 'A timestamp is ISO 8601 with a zone, such as 2026-01-31T12:00:00Z.',
      step: path,
    },
    'failed',
  );
}
