/**
 * The workflow of a run: gives the interpreter its powers, and shows the run while it goes.
 *
 * Invariants:
 * 1. A run that succeeds or stops completes with its RunView; one that fails throws it as the details of
 *    its failure; one that is cancelled ends as cancelled.
 * 2. Its memory is the RunState, which a query gives away: a new run can start from it, and so does the execution with
 *    which a run goes on when its history has grown long.
 */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  isCancellation,
  log,
  patched,
  proxyActivities,
  setHandler,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { toCarriedState } from '../core/carried-state.js';
import { errorMessage } from '../core/error.js';
import { interpret } from '../core/interpreter.js';
import { isJsonObject } from '../core/json.js';
import { jsonSizeBytes } from '../core/json-size.js';
import { IR_VERSION } from '../core/plan.js';
import type { Powers, StepOutcome } from '../core/powers.js';
import type { RunResult, RunState, StepState } from '../core/run-state.js';
import { stageOf, toRunView, type RunView } from '../core/run-view.js';
import { Abandonment } from './abandonment.js';
import { Approvals } from './approvals.js';
import { clipSummary } from './clip-summary.js';
import {
  ABANDON_SIGNAL,
  APPROVAL_QUERY,
  APPROVE_UPDATE,
  DECIDE_UPDATE,
  FORCE_SIGNAL,
  RECORD_ACTIVITY,
  RUN_STATE_QUERY,
  STATE_QUERY,
  type Approval,
  type ApprovalResult,
  type ApprovalView,
  type Decision,
  type DecisionResult,
  type RunArgs,
} from './contract.js';
import { endAtDeadline } from './deadline.js';
import { Decisions } from './decisions.js';
import { Handover } from './handover.js';
import { createRoom, historyIsFull } from './history-room.js';
import { setLazyDetails } from './lazy-details.js';
import { Notices } from './notices.js';
import { progressTable } from './progress-table.js';
import { releaseAfterReset, takeRoundLock } from './round-lock.js';
import { createPlace } from './place.js';
import { Shields } from './shields.js';
import { createStage } from './stage.js';
import { createRunChild } from './run-child.js';
import { createRunPlainStep, createRunStep } from './run-step.js';
import { wasReset } from './was-reset.js';

// The sandbox takes its workflow types from this one file.
export { notification } from './notices.js';
export { roundLock } from './round-lock.js';

const VERDICT = defineSearchAttributeKey('AditVerdict', SearchAttributeType.KEYWORD);

/** A server terminates a run that hands more than 2 MiB to an activity. */
const MAX_RECORD_BYTES = 2_000_000;

export async function runPipeline(args: RunArgs): Promise<RunView> {
  const { plan } = args;
  if (plan.irVersion !== IR_VERSION) {
    throw ApplicationFailure.nonRetryable(
      `This worker interprets plans of version ${IR_VERSION}, not ${String(plan.irVersion)}.`,
      'PLAN_VERSION_UNKNOWN',
    );
  }
  // Fewer promises for a step, whose turns decide in which order commands come, and fewer writes of the stage: a run from
  // before keeps to its own.
  const isLean = patched('lean');
  const { part } = args;
  const run = { runId: part?.runId ?? workflowInfo().workflowId, roundId: args.roundId };
  const prefix = prefixOf(part);
  const initial: RunState = args.state ?? { steps: {} };
  let steps: ReadonlyMap<string, StepState> = new Map(Object.entries(initial.steps));
  let result: RunResult = { status: 'running', outputs: {} };
  let bundle: string | undefined;
  const view = (): RunView => ({
    ...toRunView(plan, steps, run, result, prefix),
    ...(bundle === undefined ? {} : { bundle }),
  });
  const decisions = new Decisions(initial.decisions, () => steps);
  const approvals = new Approvals(decisions, () => steps);
  const abandonment = new Abandonment(args.carried?.abandoned);
  const shields = new Shields(args.carried?.forced);
  const handover = new Handover(() => decisions.areTaken);
  const state = (): RunState => ({
    steps: Object.fromEntries(steps),
    decisions: decisions.counted,
  });

  setHandler(defineQuery<RunView>(STATE_QUERY), view);
  setHandler(defineQuery<RunState>(RUN_STATE_QUERY), state);
  setHandler(
    defineUpdate<DecisionResult, [Decision]>(DECIDE_UPDATE),
    (decision) => decisions.take(decision),
    { validator: (decision) => decisions.validate(decision) },
  );
  setHandler(
    defineUpdate<ApprovalResult, [Approval]>(APPROVE_UPDATE),
    (approval) => approvals.take(approval),
    { validator: (approval) => approvals.validate(approval) },
  );
  setHandler(defineQuery<ApprovalView | null, [string]>(APPROVAL_QUERY), (path) =>
    approvals.view(path),
  );
  setHandler(defineSignal(ABANDON_SIGNAL), () => abandonment.give());
  setHandler(defineSignal(FORCE_SIGNAL), () => shields.force());

  setLazyDetails(() => progressTable(view()));
  const isFirst = part === undefined && args.carried === undefined;
  const shownStage = createStage(
    () => {
      const waits = approvals.isWaiting ? ' (waits for approval)' : '';
      return result.status === 'running'
        ? `${stageOf(plan, steps, prefix)}${waits}`
        : result.status;
    },
    { isFirst, isLean },
  );
  const show = (): void => {
    if (!args.searchAttributes) return;
    if (result.status === 'running') shownStage.show();
    else shownStage.showLast();
  };

  const makeRoom = createRoom();
  const notices = new Notices(args, run.runId, {
    makeRoom,
    keep: (body) => handover.keep(body),
  });
  const place = createPlace(run.runId, args.carried?.queue);
  const runStep = createRunStep(args, run, { abandonment, place });
  const runChild = createRunChild(args, run, {
    abandonment,
    place,
    shields,
    counted: () => decisions.counted,
  });
  const beginStep: Powers['runStep'] = (request, note) => {
    const full = historyIsFull(request);
    return full === null
      ? handover.during(request.path, () => runStep(request, note))
      : Promise.resolve(full);
  };
  const runPlainStep = createRunPlainStep(args, run, abandonment);
  const beginPlainStep: Powers['runStep'] = (request, note) => {
    const full = historyIsFull(request);
    if (full !== null) return Promise.resolve(full);
    const start = (): Promise<StepOutcome> =>
      runPlainStep(request, note, handover.begin(request.path));
    return handover.hold()?.then(start) ?? start();
  };
  const powers: Powers = {
    runStep: (request, note) => {
      const room = makeRoom(jsonSizeBytes(request.input));
      if (!isLean || request.program !== undefined)
        return Promise.resolve(room).then(() => beginStep(request, note));
      return room?.then(() => beginPlainStep(request, note)) ?? beginPlainStep(request, note);
    },
    runPart: async (request) => {
      await makeRoom(jsonSizeBytes(request));
      const full = historyIsFull(request);
      return full === null
        ? handover.during(request.path, () => runChild(request))
        : { status: 'failed', outputs: {}, error: full.error };
    },
    // A block cannot be a part of the part that it is.
    movesOut: (path) => path !== part?.path && handover.movesOut(path),
    decide: async (path, error, untilMs) => {
      // A run whose history is from before there were decisions ended here as stopped.
      if (!patched('decide')) return null;
      notices.waits(path, steps.get(path), error);
      return decisions.wait(path, untilMs);
    },
    approve: async (approval) => {
      const over = approvals.wait(approval);
      notices.waits(approval.path, steps.get(approval.path));
      show();
      await over;
    },
    sleep: (ms, summary) => sleep(ms, { summary: clipSummary(summary) }),
    now: () => Date.now(),
    random: () => Math.random(),
    isCancellation,
    shielded: shields.shielded,
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
    const refusal =
      args.lockId === undefined ? null : await takeRoundLock(args.lockId, args.carried);
    const { until, deadlineMs } = args;
    const options = {
      ...run,
      ...(until === undefined ? {} : { until }),
      ...(part === undefined ? {} : { prefix }),
      ...(part?.frame === undefined ? {} : { frame: part.frame }),
      ...(isLean ? {} : { hasManyTurns: true }),
    };
    const begin = part?.cancelled === true ? cancelled : at;
    const interpreted = (): Promise<RunResult> =>
      begin(() => interpret(plan, initial, options, powers));
    const whole = (): Promise<RunResult> =>
      args.endsAtDeadline !== true || deadlineMs === undefined
        ? interpreted()
        : endAtDeadline(deadlineMs, interpreted, () => handover.stay());
    const ended =
      refusal === null
        ? await Promise.race([whole(), handover.due()])
        : { status: 'stopped' as const, outputs: {}, error: refusal };
    if (ended === undefined) {
      await continueAsNew<typeof runPipeline>({
        ...args,
        state: toCarriedState(state()),
        carried: {
          ...(wasReset(args.carried) ? { reset: true } : {}),
          ...(abandonment.isGiven ? { abandoned: true } : {}),
          ...(shields.isForced ? { forced: true } : {}),
          ...(place.found === undefined ? {} : { queue: place.found }),
        },
      });
    } else result = ended;
  } catch (error) {
    if (!isCancellation(error)) throw error;
    cancellation = error;
    result = { status: 'cancelled', outputs: {} };
  }
  // One write to the server's index of runs, and not two.
  if (isLean && args.searchAttributes)
    shownStage.showLast([{ key: VERDICT, value: result.status }]);
  else show();
  await CancellationScope.nonCancellable(async () => {
    await condition(allHandlersFinished);
    if (!isLean && args.searchAttributes)
      upsertSearchAttributes([{ key: VERDICT, value: result.status }]);
    bundle = await finish(view(), args);
    if (args.lockId !== undefined) await releaseAfterReset(args.lockId, args.carried);
    if (args.notify !== undefined) await notices.ended(result);
  });
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

/** How the paths of the steps of the workflow's own plan begin. */
function prefixOf(part: RunArgs['part']): string {
  if (part === undefined) return '';
  if (part.frame === undefined) return `${part.path}/`;
  return part.path.slice(0, part.path.lastIndexOf('/') + 1);
}

function at<T>(body: () => Promise<T>): Promise<T> {
  return body();
}

/** Runs `body` as it goes on in a run that is cancelled. */
function cancelled<T>(body: () => Promise<T>): Promise<T> {
  const scope = new CancellationScope();
  return scope.run(() => {
    scope.cancel();
    return body();
  });
}

/** Writes the end of the run into the evidence folder; the root of its bundle. A run does not fail for want of it. */
async function finish(view: RunView, args: RunArgs): Promise<string | undefined> {
  const { [RECORD_ACTIVITY]: record } = proxyActivities<
    Record<string, (record: object) => Promise<unknown>>
  >({
    scheduleToCloseTimeout: '2m',
    startToCloseTimeout: '20s',
    summary: 'write the end of the run into its evidence folder',
  });
  // The plan of a part is in that of the run.
  const written = args.part === undefined ? { plan: args.plan } : { part: args.part.path };
  const sizeBytes = jsonSizeBytes({ ...view }) + jsonSizeBytes({ ...written });
  if (sizeBytes > MAX_RECORD_BYTES) {
    log.warn('The end of the run is too large for its evidence folder.', { sizeBytes });
    return undefined;
  }
  try {
    const recorded = await record?.({ view, ...written });
    const root = isJsonObject(recorded) ? recorded['bundle'] : undefined;
    return typeof root === 'string' ? root : undefined;
  } catch (error) {
    log.warn('The end of the run could not be recorded in its evidence folder.', {
      reason: errorMessage(error),
    });
    return undefined;
  }
}
