/**
 * Step type + adapters -> Temporal activity: validate, run, validate, translate errors.
 *
 * The only place where our errors become Temporal's. A StepError is never retried by Temporal: it goes
 * back to the interpreter, which counts it. "Not yet" is retried by Temporal without a trace in the
 * history; so is a host that does not answer, for its programs go on and the same start finds them again. Anything
 * else is a bug and passes through, so that it is retried until the mended build runs.
 */
import { hash } from 'node:crypto';
import { ApplicationFailure, Context, log, type Info } from '@temporalio/activity';
import { ApplicationFailureCategory, type ActivityCancellationDetails } from '@temporalio/common';
import type { z } from 'zod';
import { canonicalJson } from '../core/canonical-json.js';
import { errorMessage, isDiskFull, NotYet, STEP_ERRORS, StepError } from '../core/error.js';
import { jsonSizeBytes } from '../core/json-size.js';
import type { Json, JsonObject } from '../core/json.js';
import { MAX_OUTPUT_BYTES } from '../core/run-state.js';
import type { RunView } from '../core/run-view.js';
import type { StepCall } from '../core/step-call.js';
import type { Plan } from '../core/plan.js';
import type { Adapters } from './adapters.js';
import { StepRecorder, type Standing } from './step-recorder.js';
import type { StepContext, StepType } from './step-type.js';

/**
 * How often a running step tells the server that it lives; cancellation comes back by the same way. Its start says so
 * too, so that a step which ends sooner tells it nothing: each beat costs the server a write.
 */
const HEARTBEAT_EVERY_MS = 1_000;

/** As often, and oftener where the step allows less silence than a few of those. */
function beatEveryMs({ heartbeatTimeoutMs = 0 }: Info): number {
  return heartbeatTimeoutMs > 0
    ? Math.min(HEARTBEAT_EVERY_MS, heartbeatTimeoutMs / 3)
    : HEARTBEAT_EVERY_MS;
}

/** What runs for so long is worth a record of its own before it has ended. */
const RECORD_AFTER_MS = 1_000;

type Activity = (argument: never) => Promise<unknown>;

/**
 * The activities of a worker, by the name of their step type. `onForgotten` is called when the server no longer knows
 * the step of a program: its run may be over, by a terminate or an abandonment, without the step having been told.
 */
export function createActivities(
  stepTypes: readonly StepType[],
  adapters: Adapters,
  onForgotten: () => void = () => undefined,
): Record<string, Activity> {
  const tools = { recorder: new StepRecorder(adapters.evidence), onForgotten };
  const activities: Record<string, Activity> = {};
  for (const stepType of stepTypes) {
    activities[stepType.name] = (call: StepCall) => runStep(stepType, call, adapters, tools);
  }
  return activities;
}

/** A first attempt is scheduled with its step; one of the same number that comes later follows a pause or a reset. */
function isFirst({
  attempt,
  scheduledTimestampMs,
  currentAttemptScheduledTimestampMs,
}: Info): boolean {
  return attempt === 1 && currentAttemptScheduledTimestampMs - scheduledTimestampMs < AGAIN_MS;
}

/** Less than a person needs to pause or reset a step, and than the server lets pass before it tries one again. */
const AGAIN_MS = 500;

/** Writes the end of a run into its evidence folder, and the chain of its bundle, whose root it returns. */
export function createRecordActivity(
  adapters: Pick<Adapters, 'evidence' | 'bundles'>,
): (
  record: { view: RunView } & ({ plan: Plan; part?: never } | { part: string }),
) => Promise<{ evidence: string; bundle?: string }> {
  return async ({ view, ...of }) => {
    const evidence = adapters.evidence.directory(view.runId);
    if (of.part !== undefined) {
      await adapters.evidence.writePart(view.runId, of.part, view);
      return { evidence };
    }
    const [bundle] = await Promise.all([
      adapters.bundles.seal({ view, plan: of.plan }).catch((error: unknown) => {
        // The end is recorded; to wait for the bundle would hold up whoever waits for the end.
        log.warn('The bundle of the run could not be written.', { reason: errorMessage(error) });
        return null;
      }),
      adapters.evidence.writeRun(view.runId, view),
      adapters.evidence.writePlan(view.runId, of.plan),
    ]);
    return { evidence, ...(bundle === null ? {} : { bundle: bundle.root }) };
  };
}

async function runStep(
  stepType: StepType,
  call: StepCall,
  adapters: Adapters,
  { recorder, onForgotten }: { readonly recorder: StepRecorder; readonly onForgotten: () => void },
): Promise<JsonObject> {
  const activity = Context.current();
  const { info, cancellationSignal: signal } = activity;
  const inputSha256 = hash('sha256', canonicalJson(call.input));
  let status: Json = { step: call.path };
  const beat = setInterval(() => activity.heartbeat(status), beatEveryMs(info));
  const startedAt = new Date().toISOString();
  // A step that runs a program has none: the host keeps its time.
  const deadlineMs =
    stepType.program !== true && info.scheduleToCloseTimeoutMs > 0
      ? info.scheduledTimestampMs + info.scheduleToCloseTimeoutMs
      : null;
  // What it waits for is on record already: this is a look, not its beginning.
  const begun = setTimeout(() => {
    if (!recorder.isKnown(call)) record({ status: 'running' });
  }, RECORD_AFTER_MS);
  const record = (standing: Standing): void => {
    clearTimeout(begun);
    recorder.write(call, {
      path: call.path,
      uses: stepType.name,
      start: call.start,
      attempt: info.attempt,
      worker: process.pid,
      inputSha256,
      startedAt,
      ...standing,
    });
  };
  const context: StepContext = {
    call,
    firstAttempt: isFirst(info) && call.start === 1 && call.reset !== true,
    attempt: info.attempt,
    scheduledAtMs: info.currentAttemptScheduledTimestampMs,
    deadlineMs,
    signal,
    progress: (report) => {
      status = { step: call.path, ...report };
      activity.heartbeat(status);
    },
    adapters,
  };

  try {
    // What a worker that thaws has on its hands may be another's by now: it must hear so before it does any harm, such
    // as putting back in a workspace what it takes for the leavings of an earlier attempt.
    if (stepType.program === true || stepType.effect === true || !context.firstAttempt)
      activity.heartbeat(status);
    await assertNetwork(call, adapters);
    const input = parse(
      stepType.input,
      call.input,
      (place) =>
        new StepError('STEP_INPUT_INVALID', `${stepType.name}: ${place}`, {
          hint: `docs/steps.md tells what ${stepType.name} takes.`,
        }),
    );
    const result = await stepType.run(input, context);
    const outputs = parse(
      stepType.output,
      result,
      (place) =>
        new StepError(
          'STEP_OUTPUT_INVALID',
          `${stepType.name} returned what it may not: ${place}`,
          {
            hint: 'This is a defect of the step type; please report it.',
          },
        ),
    ) as JsonObject;
    assertTravels(stepType, outputs);
    record({ status: 'succeeded', endedAt: new Date().toISOString(), outputs });
    return outputs;
  } catch (error) {
    // A cancelled step is cancelled, whatever its adapters made of the interruption.
    if (signal.aborted) {
      record({ status: 'running' });
      const details = activity.cancellationDetails;
      if (stepType.program === true) {
        await endProgram(context, details);
        if (details?.notFound === true) onForgotten();
      }
      throw signal.reason;
    }
    const wait = toWait(error);
    if (wait !== null) {
      const afterMs = nextLookMs(wait.afterMs, deadlineMs);
      if (afterMs !== null) {
        record({ status: 'waiting', waitingFor: wait.message });
        throw toNotYetFailure(wait.message, afterMs);
      }
    }
    const final = error instanceof NotYet ? toWaitedEnough(error) : toDiskError(error);
    if (final instanceof StepError) {
      const { code, message, hint } = final;
      record({
        status: 'failed',
        endedAt: new Date().toISOString(),
        error: { code, message, ...(hint === undefined ? {} : { hint }) },
      });
      throw toApplicationFailure(final);
    }
    record({ status: 'running' });
    throw final;
  } finally {
    clearInterval(beat);
    clearTimeout(begun);
  }
}

/**
 * Ends the program of a step that was aborted, where the reason asks for it. When that fails the abort goes through
 * all the same: after a cancellation the workflow has the end confirmed, after a pause the next attempt adopts.
 */
async function endProgram(
  { call, scheduledAtMs, adapters }: StepContext,
  details: ActivityCancellationDetails | undefined,
): Promise<void> {
  const reason = endReasonOf(details);
  if (reason === null) return;
  try {
    await adapters.processes.endStep({
      runId: call.runId,
      stepPath: call.path,
      token: scheduledAtMs,
      reason,
    });
  } catch (error) {
    log.warn('The program of a step could not be ended.', { reason: errorMessage(error) });
  }
}

/**
 * Why the program of an aborted step must end; null when it goes on, for the attempt that follows. The order
 * matters: a local timeout sets `notFound` too. That alone ends nothing, since a worker that was frozen while
 * another took over sees it as well.
 */
function endReasonOf(
  details: ActivityCancellationDetails | undefined,
): 'paused' | 'cancelled' | null {
  if (details === undefined || details.workerShutdown || details.timedOut) return null;
  if (details.paused) return 'paused';
  if (details.reset) return null;
  return details.cancelRequested ? 'cancelled' : null;
}

const HOST_AGAIN_MS = 5_000;

/** What the step waits for and when to look again; null when the error is none to wait for. */
function toWait(error: unknown): Pick<NotYet, 'message' | 'afterMs'> | null {
  if (error instanceof NotYet) return error;
  if (!(error instanceof StepError) || error.code !== 'HOST_UNAVAILABLE') return null;
  return { message: error.message, afterMs: HOST_AGAIN_MS };
}

function parse<T extends z.ZodType>(
  schema: T,
  value: unknown,
  toError: (place: string) => StepError,
): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw toError(`${issue?.path.join('.') || 'value'}: ${issue?.message ?? 'is not valid'}`);
}

/** Told here, since what is far too large would never reach the interpreter that bounds it. */
function assertTravels(stepType: StepType, outputs: JsonObject): void {
  const size = jsonSizeBytes(outputs);
  if (size <= MAX_OUTPUT_BYTES) return;
  throw new StepError(
    'STATE_TOO_LARGE',
    `${stepType.name} returned ${size} bytes; at most ${MAX_OUTPUT_BYTES} may travel.`,
    { hint: 'Large values belong into a file; pass its FileRef.' },
  );
}

/** A worker that is set up for another coordinator or hotkey must not act for this run. */
async function assertNetwork(call: StepCall, adapters: Adapters): Promise<void> {
  const { coordinator, hotkey } = call.network;
  if (coordinator !== '' && coordinator !== adapters.settings.coordinatorUrl) {
    const ours = adapters.settings.coordinatorUrl;
    throw mismatch(
      `The run was started for the coordinator ${coordinator}; this worker uses ${ours ?? 'none'}.`,
    );
  }
  if (hotkey === '') return;
  const address = await adapters.wallet.address();
  if (address !== hotkey) {
    throw mismatch(`The run was started for the hotkey ${hotkey}; this worker has ${address}.`);
  }
}

function mismatch(message: string): StepError {
  return new StepError('NETWORK_MISMATCH', message, {
    hint: 'Give worker and command the same ADIT_COORDINATOR_URL and ADIT_HOTKEY_FILE, then start the run again.',
  });
}

/** The failure that the interpreter reads: its code, and what it decides by. */
export function toApplicationFailure(error: StepError): ApplicationFailure {
  return ApplicationFailure.create({
    message: error.message,
    type: error.code,
    nonRetryable: true,
    details: [
      {
        retryable: STEP_ERRORS[error.code].retryable,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
        ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
        ...(error.askUntilMs === undefined ? {} : { askUntilMs: error.askUntilMs }),
      },
    ],
  });
}

/** The shortest time before a step's deadline that still allows a look. */
const LAST_LOOK_MS = 1_000;

/**
 * When to look again: as asked, or a second before the deadline; null when that is too near. The server
 * forgets what was waited for when the time runs out between two looks, so the last look ends the wait.
 */
function nextLookMs(afterMs: number, deadlineMs: number | null): number | null {
  if (deadlineMs === null) return afterMs;
  const latest = deadlineMs - Date.now() - LAST_LOOK_MS;
  return latest < LAST_LOOK_MS ? null : Math.min(afterMs, latest);
}

/** A full disk is no bug, wherever it showed. */
function toDiskError(error: unknown): unknown {
  if (!isDiskFull(error)) return error;
  return new StepError('DISK_FULL', `No space left: ${errorMessage(error)}.`, {
    hint: 'Free some space, then start the run again.',
    cause: error,
  });
}

function toWaitedEnough({ code, message, askUntilMs }: NotYet): StepError {
  return new StepError(code, message, {
    hint: 'The step waited for its whole timeout; give it a longer `timeout`.',
    ...(askUntilMs === undefined ? {} : { askUntilMs }),
  });
}

function toNotYetFailure(message: string, afterMs: number): ApplicationFailure {
  return ApplicationFailure.create({
    message,
    type: 'NOT_YET',
    nonRetryable: false,
    nextRetryDelay: afterMs,
    // Waiting is not a failure: it must not fill logs and failure metrics.
    category: ApplicationFailureCategory.BENIGN,
  });
}
