/** How a step ends a run, and the ends that the interpreter itself knows. */
import { formatDuration } from './duration.js';
import { errorMessage, isStepErrorCode, STEP_ERRORS, type ErrorReport } from './error.js';
import { jsonSizeBytes } from './json-size.js';
import type { JsonObject } from './json.js';

/** A step ended, and its run with it: thrown and caught inside the interpreter only. */
export class StepEnd extends Error {
  readonly report: ErrorReport;
  readonly ends: 'failed' | 'stopped';
  /** Until when a person may be asked about it, in milliseconds since the epoch; undefined: without end. */
  readonly askUntilMs: number | undefined;
  constructor(report: ErrorReport, ends: 'failed' | 'stopped', askUntilMs?: number) {
    super(report.message);
    this.report = report;
    this.ends = ends;
    this.askUntilMs = askUntilMs;
  }
}

/** What a run becomes by a code that has no try left. */
export function endsAs(code: string): 'failed' | 'stopped' {
  if (!isStepErrorCode(code)) return 'failed';
  const { ends } = STEP_ERRORS[code];
  return ends === 'asks' ? 'stopped' : ends;
}

/** The end of a step whose time is over. */
export function timedOut(path: string, timeoutMs: number, askUntilMs?: number): StepEnd {
  return new StepEnd(
    {
      code: 'STEP_TIMEOUT',
      message: `${path} did not end within its timeout of ${timeoutMs} ms.`,
      hint: 'Give the step a longer `timeout`.',
      step: path,
    },
    'failed',
    askUntilMs,
  );
}

/** The end of a `try` whose `finally` took too long. */
export function finallyTimedOut(path: string, timeoutMs: number): StepEnd {
  return new StepEnd(
    {
      code: 'FINALLY_TIMEOUT',
      message: `The \`finally\` of ${path} did not end within ${formatDuration(timeoutMs)}.`,
      hint: 'Look at what it should have given back, such as a claim; or give the step a longer `finally_timeout`.',
      step: path,
    },
    'failed',
  );
}

/** Ends the run with STATE_TOO_LARGE when `value` is larger than may travel. */
export function assertSize(
  what: string,
  value: JsonObject | object,
  limit: number,
  path: string | null,
): void {
  const size = jsonSizeBytes(value);
  if (size <= limit) return;
  throw new StepEnd(
    {
      code: 'STATE_TOO_LARGE',
      message: `${what} would be ${size} bytes; at most ${limit} may travel.`,
      hint: 'Large values belong into a file; pass its FileRef.',
      ...(path === null ? {} : { step: path }),
    },
    'failed',
  );
}

/** An expression that fails ends the run with a code; it never fails the workflow task. */
export function expression<T>(path: string | null, place: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw new StepEnd(
      {
        code: 'EXPRESSION_FAILED',
        message: `The expression of ${path === null ? place : `${path}, ${place},`} failed: ${errorMessage(error)}`,
        hint: 'Guard it with has(...) or a condition.',
        ...(path === null ? {} : { step: path }),
      },
      'failed',
    );
  }
}
