/**
 * The power `runStep`: one start of a step as one activity.
 *
 * Invariants:
 * 1. A step error comes back to the interpreter, which counts it; Temporal itself retries only a lost worker and
 *    "not yet".
 * 2. A step that runs a program has no limit of the server's: its time is run time, which the host keeps.
 * 3. However such a step ends, other than by its own result or error, its host confirms that nothing is left of the
 *    program, unless a person has given that up.
 * 4. What a cancellation ends is cancelled, also when the activity that it ended timed out.
 */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  isCancellation,
  log,
  proxyActivities,
  TimeoutFailure,
  type ActivityOptions,
} from '@temporalio/workflow';
import { errorMessage, isStepErrorCode } from '../core/error.js';
import { isJsonObject } from '../core/json.js';
import type { Powers, StepOutcome, StepRequest } from '../core/powers.js';
import type { StepCall } from '../core/step-call.js';
import type { Abandonment } from './abandonment.js';
import { clipSummary } from './clip-summary.js';
import { END_PROGRAM_ACTIVITY, type EndProgramArgs, type RunArgs } from './contract.js';
import type { Place } from './place.js';
import { wasReset } from './was-reset.js';

type Call<Argument> = (argument: Argument) => Promise<unknown>;
type Note = (text: string | null) => void;

/**
 * Longest silence of a worker, when nobody says otherwise. Every step has one: a task that the server gave to a worker
 * which never got it would else be missed only when the time of the whole step is over.
 */
const HEARTBEAT_MS = 20_000;

/** How far behind a program's own limit the server's lies: waiting for a device or a host does not count. */
const BACKSTOP_MS = 30 * 24 * 60 * 60 * 1_000;

export function createRunStep(
  args: RunArgs,
  run: { readonly runId: string; readonly roundId: string },
  { abandonment, place }: { readonly abandonment: Abandonment; readonly place: Place },
): Powers['runStep'] {
  const runProgram: Powers['runStep'] = async (request, note) => {
    if (CancellationScope.current().consideredCancelled)
      throw new CancelledFailure(`${request.path} was not started.`);
    try {
      const queue = request.queue ?? (await place.find());
      const call = callOf(request, args, run);
      return await runActivity({ ...request, queue }, call, note, abandonment);
    } catch (error) {
      if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
      return toOutcome(error, request);
    }
  };
  return (request, note) =>
    request.program === undefined
      ? runActivity(request, callOf(request, args, run), note, abandonment)
      : runProgram(request, note);
}

function callOf(
  request: StepRequest,
  { plan, deadlineMs, carried }: RunArgs,
  run: { readonly runId: string; readonly roundId: string },
): StepCall {
  return {
    ...run,
    ...(wasReset(carried) ? { reset: true } : {}),
    pipeline: plan.pipeline,
    path: request.path,
    start: request.start,
    network: plan.network,
    input: request.input,
    ...(request.program === undefined ? {} : { program: request.program }),
    ...(deadlineMs === undefined ? {} : { runDeadlineMs: deadlineMs }),
  };
}

/** How an activity has ended; null when it was given up. */
type Ended = { readonly outputs: unknown } | { readonly error: unknown } | null;

/**
 * A start of a step that runs no program, with two promises besides the activity's own: the SDK is called for each that a
 * workflow makes, and that is most of what a short step costs there. `isOver` is called when it ends.
 */
export function createRunPlainStep(
  args: RunArgs,
  run: { readonly runId: string; readonly roundId: string },
  abandonment: Abandonment,
): (request: StepRequest, note: Note, isOver: () => void) => Promise<StepOutcome> {
  return (request, note, isOver) => {
    const scope = CancellationScope.current();
    const host = request.queue === null ? null : hostOf(request.queue);
    const outcomeOf = (ended: Ended): StepOutcome => {
      if (ended !== null && 'outputs' in ended) return toSuccess(ended.outputs);
      const error = ended?.error;
      if (isOwnError(error)) return toOutcome(error, request);
      note(ended === null && host !== null ? `given up: host ${host} did not answer` : null);
      return toCounted(error, request, scope);
    };
    return new Promise((resolve, reject) => {
      let hasEnded = false;
      let stop: () => void = () => undefined;
      const end = (ended: Ended): void => {
        if (hasEnded) return;
        hasEnded = true;
        stop();
        isOver();
        try {
          resolve(outcomeOf(ended));
        } catch (error) {
          reject(error);
        }
      };
      if (host !== null)
        scope.cancelRequested.catch(() => {
          if (!hasEnded) note(`cancelling, waits for host ${host}`);
        });
      try {
        activityOf(request)(callOf(request, args, run)).then(
          (outputs) => end({ outputs }),
          (error: unknown) => end({ error }),
        );
        stop = abandonment.tellCancelled(scope, () => end(null));
        if (hasEnded) stop();
      } catch (error) {
        end({ error });
      }
    });
  };
}

async function runActivity(
  request: StepRequest,
  call: StepCall,
  note: Note,
  abandonment: Abandonment,
): Promise<StepOutcome> {
  const scope = CancellationScope.current();
  const { queue } = request;
  const host = queue === null ? null : hostOf(queue);
  let isOver = false;
  let stop: () => void = () => undefined;
  if (host !== null)
    scope.cancelRequested.catch(() => {
      if (!isOver) note(`cancelling, waits for host ${host}`);
    });
  try {
    // Null when it was given up. By hand: a race makes twice as many promises, each of which costs its step time.
    const ended = await new Promise<Ended>((resolve) => {
      activityOf(request)(call).then(
        (outputs) => resolve({ outputs }),
        (error: unknown) => resolve({ error }),
      );
      stop = abandonment.tellCancelled(scope, () => resolve(null));
    });
    if (ended !== null && 'outputs' in ended) return toSuccess(ended.outputs);
    const error = ended?.error;
    if (isOwnError(error)) return toOutcome(error, request);
    if (request.program !== undefined && queue !== null && host !== null) {
      const place = { queue, host, runId: call.runId };
      const isGone = ended !== null && (await confirmEnd(request, place, note, abandonment));
      if (!isGone) note(`given up: the program may still run on host ${host}`);
    } else {
      note(ended === null && host !== null ? `given up: host ${host} did not answer` : null);
    }
    return toCounted(error, request, scope);
  } finally {
    isOver = true;
    stop();
  }
}

/** What the interpreter is told of an end that is no error of the step itself. Throws what is no end of a start. */
function toCounted(error: unknown, request: StepRequest, scope: CancellationScope): StepOutcome {
  if (isCancellation(error)) throw error;
  // Its worker went silent after it was told to end.
  if (scope.consideredCancelled) throw new CancelledFailure(`${request.path} was cancelled.`);
  if (error instanceof ActivityFailure) return toOutcome(error, request);
  throw error;
}

/** True for an error of the step itself: of a program its host has then said that nothing is left. */
function isOwnError(error: unknown): error is ActivityFailure {
  if (!(error instanceof ActivityFailure) || !(error.cause instanceof ApplicationFailure))
    return false;
  const code = error.cause.type ?? '';
  return isStepErrorCode(code) && code !== 'HOST_UNAVAILABLE' && code !== 'PROGRAM_TAKEN_OVER';
}

/** Waits until the host has nothing left of the step's programs; false when that is not known. */
async function confirmEnd(
  request: StepRequest,
  { queue, host, runId }: { queue: string; host: string; runId: string },
  note: Note,
  abandonment: Abandonment,
): Promise<boolean> {
  const isCancelled = CancellationScope.current().consideredCancelled;
  note(`${isCancelled ? 'cancelling' : 'ending'}, waits for host ${host}`);
  const givenUp = abandonment.forAnything();
  try {
    return await CancellationScope.nonCancellable(async () => {
      const { [END_PROGRAM_ACTIVITY]: end } = proxyActivities<Record<string, Call<EndProgramArgs>>>(
        {
          activityId: `${activityIdOf(request)} end`,
          taskQueue: queue,
          // No limit in all: a host that is down is waited for.
          startToCloseTimeout: '1m',
          retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '10s' },
          cancellationType: ActivityCancellationType.TRY_CANCEL,
          summary: clipSummary(`${request.path}: confirm that nothing is left of its program`),
        },
      );
      const waiting = new CancellationScope();
      const ended = waiting.run(async () => end?.({ runId, stepPath: request.path }));
      ended.catch(() => undefined);
      const isGone = await Promise.race([ended.then(() => true), givenUp.promise]);
      if (isGone === null) waiting.cancel();
      else note(null);
      return isGone === true;
    });
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    log.warn('The host could not end what is left of a program.', {
      step: request.path,
      reason: errorMessage(error.cause ?? error),
    });
    return false;
  } finally {
    givenUp.stop();
  }
}

function activityIdOf({ path, start }: StepRequest): string {
  return start === 1 ? path : `${path}~${start}`;
}

function activityOf(request: StepRequest): Call<StepCall> {
  const activities = proxyActivities<Record<string, Call<StepCall>>>({
    ...(request.program === undefined ? plainOptions(request) : programOptions(request)),
    activityId: activityIdOf(request),
    ...(request.queue === null ? {} : { taskQueue: request.queue }),
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    summary: clipSummary(
      request.summary === null ? request.path : `${request.path}: ${request.summary}`,
    ),
  });
  const activity = activities[request.uses];
  if (activity === undefined) throw new Error(`There is no activity ${request.uses}.`);
  return activity;
}

function plainOptions({ options, remainingMs }: StepRequest): ActivityOptions {
  const leftMs = remainingMs ?? options.timeoutMs;
  return {
    scheduleToCloseTimeout: leftMs,
    startToCloseTimeout: Math.min(options.attemptTimeoutMs ?? leftMs, leftMs),
    heartbeatTimeout: options.heartbeatMs ?? HEARTBEAT_MS,
    // Without a limit of attempts: a deploy or a lost worker must not use one up.
    retry: {
      initialInterval: '1s',
      backoffCoefficient: 2,
      maximumInterval: '1m',
      nonRetryableErrorTypes: ['TemporalTimeout:StartToClose'],
    },
  };
}

/** Temporal retries a program's activity for ever: only a lost worker makes it end so, and the next one adopts. */
function programOptions({ options }: StepRequest): ActivityOptions {
  return {
    startToCloseTimeout: options.timeoutMs + BACKSTOP_MS,
    heartbeatTimeout: options.heartbeatMs ?? HEARTBEAT_MS,
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '10s' },
  };
}

/** The name of a host, as its queue has it: `<shared queue>.host.<name>`. */
function hostOf(queue: string): string {
  const at = queue.indexOf('.host.');
  return at === -1 ? queue : queue.slice(at + '.host.'.length);
}

function toSuccess(outputs: unknown): StepOutcome {
  return { kind: 'succeeded', outputs: isJsonObject(outputs) ? outputs : {} };
}

/** What the boundary puts into a failure's details beside its code. */
interface FailureDetails {
  readonly hint?: string;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
  readonly askUntilMs?: number;
}

function toOutcome(error: ActivityFailure, request: StepRequest): StepOutcome {
  const { cause } = error;
  if (cause instanceof ApplicationFailure) {
    const details = (cause.details?.[0] ?? {}) as FailureDetails;
    const code = cause.type ?? 'INTERNAL';
    return {
      kind: 'failed',
      error: {
        // Anything that is not ours is a bug that outlasted the step's time.
        code: isStepErrorCode(code) ? code : 'INTERNAL',
        message: cause.message,
        ...(details.hint === undefined ? {} : { hint: details.hint }),
      },
      retryable: details.retryable === true,
      ...(details.retryAfterMs === undefined ? {} : { retryAfterMs: details.retryAfterMs }),
      ...(details.askUntilMs === undefined ? {} : { askUntilMs: details.askUntilMs }),
    };
  }
  if (cause instanceof TimeoutFailure) {
    const ofAttempt =
      cause.timeoutType === 'START_TO_CLOSE' && request.options.attemptTimeoutMs !== undefined;
    const limitMs = ofAttempt ? request.options.attemptTimeoutMs : request.options.timeoutMs;
    return {
      kind: 'failed',
      error: {
        code: ofAttempt ? 'ATTEMPT_TIMEOUT' : 'STEP_TIMEOUT',
        message: `${request.path} did not end within its ${ofAttempt ? 'attempt timeout' : 'timeout'} of ${limitMs} ms.`,
        hint: `Give the step a longer ${ofAttempt ? '`attempt_timeout`' : '`timeout`'}.`,
      },
      retryable: ofAttempt,
    };
  }
  return {
    kind: 'failed',
    error: { code: 'INTERNAL', message: errorMessage(cause ?? error) },
    retryable: false,
  };
}
