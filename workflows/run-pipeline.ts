/**
 * The one workflow: gives the interpreter its powers, and shows the run while it goes.
 *
 * Invariants:
 * 1. One activity per try. A step error comes back to the interpreter, which counts it; Temporal itself
 *    retries only a lost worker and "not yet".
 * 2. A run that succeeds or stops completes with its RunView; one that fails throws it as the details of
 *    its failure; one that is cancelled ends as cancelled.
 */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  defineQuery,
  isCancellation,
  log,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  TimeoutFailure,
  upsertSearchAttributes,
  workflowInfo,
  type ActivityOptions,
} from '@temporalio/workflow';
import { errorMessage, isStepErrorCode } from '../core/error.js';
import { interpret } from '../core/interpreter.js';
import { isJsonObject } from '../core/json.js';
import { jsonSizeBytes } from '../core/json-size.js';
import { IR_VERSION } from '../core/plan.js';
import type { Powers, StepOutcome, StepRequest } from '../core/powers.js';
import type { RunResult, RunState, StepState } from '../core/run-state.js';
import { stageOf, toRunView, type RunView } from '../core/run-view.js';
import type { StepCall } from '../core/step-call.js';
import { RECORD_ACTIVITY, STATE_QUERY, type RunArgs } from './contract.js';
import { progressTable } from './progress-table.js';

const STAGE = defineSearchAttributeKey('AditStage', SearchAttributeType.KEYWORD);
const VERDICT = defineSearchAttributeKey('AditVerdict', SearchAttributeType.KEYWORD);

/** A server ends a run at 51,200 events or 50 MiB; up to 1,000 items may be under way. */
const MAX_HISTORY_EVENTS = 40_000;
const MAX_HISTORY_BYTES = 40 * 1024 * 1024;

/** Inputs that one workflow task hands out. */
const MAX_TASK_BYTES = 2 * 1024 * 1024;

/** A server terminates a run that hands more than 2 MiB to an activity. */
const MAX_RECORD_BYTES = 2_000_000;

type Call<Argument> = (argument: Argument) => Promise<unknown>;

export async function runPipeline(args: RunArgs): Promise<RunView> {
  const { plan } = args;
  if (plan.irVersion !== IR_VERSION) {
    throw ApplicationFailure.nonRetryable(
      `This worker interprets plans of version ${IR_VERSION}, not ${String(plan.irVersion)}.`,
      'PLAN_VERSION_UNKNOWN',
    );
  }
  const run = { runId: workflowInfo().workflowId, roundId: args.roundId };
  const initial: RunState = args.state ?? { steps: {} };
  let steps: ReadonlyMap<string, StepState> = new Map(Object.entries(initial.steps));
  let result: RunResult = { status: 'running', outputs: {} };
  let stage = '';
  const view = (): RunView => toRunView(plan, steps, run, result);

  setHandler(defineQuery<RunView>(STATE_QUERY), view);

  let changes = 0;
  const show = (): void => {
    const now = result.status === 'running' ? stageOf(plan, steps) : result.status;
    const moved = now !== stage;
    stage = now;
    changes += 1;
    // The table costs as much as the run is long, so a long run draws it less often.
    if (moved || changes % Math.ceil(steps.size / 100) === 0) {
      setCurrentDetails(progressTable(view()));
    }
    if (moved && args.searchAttributes) upsertSearchAttributes([{ key: STAGE, value: now }]);
  };

  const makeRoom = createRoom();
  const powers: Powers = {
    runStep: async (request) => {
      await makeRoom(jsonSizeBytes(request.input));
      return historyIsFull(request) ?? runStep(request, run, args);
    },
    sleep: (ms, summary) => sleep(ms, { summary: clip(summary) }),
    now: () => Date.now(),
    random: () => Math.random(),
    isCancellation,
    shielded: (body) => CancellationScope.nonCancellable(body),
    scoped: (body) => {
      const scope = new CancellationScope();
      return scope.run(() => body(() => scope.cancel()));
    },
    changed: (current) => {
      steps = current;
      show();
    },
  };

  let cancellation: unknown;
  try {
    result = await interpret(plan, initial, run, powers);
  } catch (error) {
    if (!isCancellation(error)) throw error;
    cancellation = error;
    result = { status: 'cancelled', outputs: {} };
  }
  show();
  await CancellationScope.nonCancellable(() => finish(view(), args));
  if (cancellation !== undefined) throw cancellation;
  if (result.status === 'failed') {
    throw ApplicationFailure.create({
      message: result.error?.message ?? 'The run failed.',
      type: result.error?.code ?? 'INTERNAL',
      nonRetryable: true,
      details: [view()],
    });
  }
  return view();
}

/** Writes the end of the run into the evidence folder. A run does not fail for want of it. */
async function finish(view: RunView, args: RunArgs): Promise<void> {
  if (args.searchAttributes) upsertSearchAttributes([{ key: VERDICT, value: view.status }]);
  const { [RECORD_ACTIVITY]: record } = proxyActivities<Record<string, Call<object>>>({
    scheduleToCloseTimeout: '2m',
    startToCloseTimeout: '20s',
    summary: 'write the end of the run into its evidence folder',
  });
  const sizeBytes = jsonSizeBytes({ ...view }) + jsonSizeBytes({ ...args.plan });
  if (sizeBytes > MAX_RECORD_BYTES) {
    log.warn('The end of the run is too large for its evidence folder.', { sizeBytes });
    return;
  }
  try {
    await record?.({ view, plan: args.plan });
  } catch (error) {
    log.warn('The end of the run could not be recorded in its evidence folder.', {
      reason: errorMessage(error),
    });
  }
}

/**
 * A step that no longer fits into the history fails here, in order: the server itself would end the run
 * without its `finally`, whose steps may use what is kept back for them.
 */
function historyIsFull({ path }: StepRequest): StepOutcome | null {
  const { historyLength, historySize } = workflowInfo();
  if (path.includes('/finally/')) return null;
  if (historyLength <= MAX_HISTORY_EVENTS && historySize <= MAX_HISTORY_BYTES) return null;
  return {
    kind: 'failed',
    error: {
      code: 'STATE_TOO_LARGE',
      message: `The history of the run has ${historyLength} events and ${historySize} bytes; the server keeps no room for ${path}.`,
      hint: 'Split the pipeline, or put large values into files and pass their FileRef.',
    },
    retryable: false,
  };
}

/**
 * Waits until the next workflow task when the inputs that were handed out in this one fill its answer: many
 * items with large inputs start at once, and a server takes no answer beyond 4 MiB.
 */
function createRoom(): (bytes: number) => Promise<void> {
  let task = { historyLength: -1, bytes: 0 };
  return async (bytes) => {
    for (;;) {
      const { historyLength } = workflowInfo();
      if (historyLength !== task.historyLength) task = { historyLength, bytes: 0 };
      if (task.bytes === 0 || task.bytes + bytes <= MAX_TASK_BYTES) {
        task.bytes += bytes;
        return;
      }
      await sleep(1, { summary: 'room for the next inputs' });
    }
  };
}

async function runStep(
  request: StepRequest,
  run: { readonly runId: string; readonly roundId: string },
  args: RunArgs,
): Promise<StepOutcome> {
  const { options } = request;
  const attemptMs = Math.min(options.attemptTimeoutMs ?? request.remainingMs, request.remainingMs);
  const activityOptions: ActivityOptions = {
    activityId: request.start === 1 ? request.path : `${request.path}~${request.start}`,
    scheduleToCloseTimeout: request.remainingMs,
    startToCloseTimeout: attemptMs,
    ...(options.heartbeatMs === undefined ? {} : { heartbeatTimeout: options.heartbeatMs }),
    ...(request.queue === null ? {} : { taskQueue: request.queue }),
    // Without a limit of attempts: a deploy or a lost worker must not use one up.
    retry: {
      initialInterval: '1s',
      backoffCoefficient: 2,
      maximumInterval: '1m',
      nonRetryableErrorTypes: ['TemporalTimeout:StartToClose'],
    },
    cancellationType: 'WAIT_CANCELLATION_COMPLETED',
    summary: clip(request.summary === null ? request.path : `${request.path}: ${request.summary}`),
  };
  const call: StepCall = {
    ...run,
    pipeline: args.plan.pipeline,
    path: request.path,
    start: request.start,
    network: args.plan.network,
    input: request.input,
  };
  const activities = proxyActivities<Record<string, Call<StepCall>>>(activityOptions);
  const activity = activities[request.uses];
  try {
    const outputs = await activity?.(call);
    return { kind: 'succeeded', outputs: isJsonObject(outputs) ? outputs : {} };
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    return toOutcome(error, request);
  }
}

/** What the boundary puts into a failure's details beside its code. */
interface FailureDetails {
  readonly hint?: string;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
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

/** Temporal keeps at most 400 bytes of a summary, encoded. */
function clip(text: string): string {
  return text.length <= 120 ? text : `${text.slice(0, 119)}…`;
}
