/**
 * A part of a run as a child workflow of the same type: the pipeline that a step calls.
 *
 * Its id is the id of the run, a slash, and the path of the part; all that it does, it does as that run: run id, round,
 * paths of steps, evidence, effects. It ends with its parent: a cancellation waits until its `finally` is done, a
 * terminate ends both.
 */
import {
  CancellationScope,
  CancelledFailure,
  ChildWorkflowCancellationType,
  ChildWorkflowFailure,
  isCancellation,
  ParentClosePolicy,
  startChild,
  workflowInfo,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { errorMessage } from '../core/error.js';
import { IR_VERSION } from '../core/plan.js';
import type { PartRequest } from '../core/powers.js';
import type { RunResult, RunState } from '../core/run-state.js';
import type { RunView } from '../core/run-view.js';
import type { Abandonment } from './abandonment.js';
import { createCancelPart } from './cancel-part.js';
import { clipSummary } from './clip-summary.js';
import type { Place } from './place.js';
import { wasReset } from './was-reset.js';
import {
  ABANDON_SIGNAL,
  FORCE_SIGNAL,
  partId,
  WORKFLOW_TYPE,
  type RunArgs,
  type RunMemo,
} from './contract.js';
import type { Shields } from './shields.js';

type Child = ChildWorkflowHandle<(args: RunArgs) => Promise<RunView>>;

/** What people say to a run holds for its parts too. */
interface Told {
  readonly abandonment: Abandonment;
  readonly shields: Shields;
  readonly cancelPart: ReturnType<typeof createCancelPart>;
}

const ATTRIBUTES = ['AditPipeline', 'AditTask'] as const;

/** The power `runPart`. `args` are those of the workflow that the child is started from. */
export function createRunChild(
  args: RunArgs,
  run: { readonly runId: string; readonly roundId: string },
  {
    place,
    counted,
    ...said
  }: Omit<Told, 'cancelPart'> & {
    readonly place: Place;
    readonly counted: () => RunState['decisions'];
  },
): (request: PartRequest) => Promise<RunResult> {
  const told = { ...said, cancelPart: createCancelPart() };
  return async (request) => {
    const isCancelled = CancellationScope.current().consideredCancelled;
    // What had begun has a `finally` to run; what had not is not begun any more.
    const isOver = isCancelled && Object.keys(request.steps).length > 0;
    const child = partArgs(request, args, { place, decisions: counted(), isCancelled: isOver });
    if (!isOver) return runChild(request, child, run, told);
    const ended = await CancellationScope.nonCancellable(() => runChild(request, child, run, told));
    if (ended.status === 'cancelled') throw new CancelledFailure(`${request.path} was cancelled.`);
    return ended;
  };
}

function partArgs(
  { path, plan, steps, until, frame }: PartRequest,
  { plan: whole, roundId, searchAttributes, deadlineMs, notify, part, carried }: RunArgs,
  {
    place,
    decisions,
    isCancelled,
  }: {
    readonly place: Place;
    readonly decisions: RunState['decisions'];
    readonly isCancelled: boolean;
  },
): RunArgs {
  const hasDecisions = Object.keys(decisions ?? {}).length > 0;
  return {
    plan: {
      irVersion: IR_VERSION,
      network: whole.network,
      ...plan,
      // A block is of the same file.
      ...(frame === undefined ? {} : { sourceSha256: whole.sourceSha256 }),
    },
    roundId,
    searchAttributes,
    part: {
      runId: part?.runId ?? workflowInfo().workflowId,
      path,
      ...(frame === undefined ? {} : { frame }),
      ...(isCancelled ? { cancelled: true } : {}),
    },
    carried: {
      ...(wasReset(carried) ? { reset: true } : {}),
      ...(place.found === undefined ? {} : { queue: place.found }),
    },
    ...(Object.keys(steps).length === 0 && !hasDecisions
      ? {}
      : { state: { steps, ...(decisions !== undefined && hasDecisions ? { decisions } : {}) } }),
    ...(until === undefined ? {} : { until }),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    ...(notify === undefined ? {} : { notify }),
  };
}

async function runChild(
  { path, plan, summary }: PartRequest,
  args: RunArgs,
  { runId, roundId }: { readonly runId: string; readonly roundId: string },
  { abandonment, shields, cancelPart }: Told,
): Promise<RunResult> {
  const scope = CancellationScope.current();
  const text = summary ?? plan.summary ?? plan.pipeline;
  const { memo } = workflowInfo();
  const known = memo?.['adit'] as Partial<RunMemo> | undefined;
  const ours: RunMemo = {
    pipeline: plan.pipeline,
    roundId,
    sourceSha256: plan.sourceSha256,
    evidence: known?.evidence ?? '',
    part: { runId, path },
  };
  try {
    const child: Child = await startChild<(args: RunArgs) => Promise<RunView>>(WORKFLOW_TYPE, {
      workflowId: partId(runId, path),
      args: [args],
      memo: { adit: ours },
      // One that a reset left behind does what this one is to do.
      workflowIdReusePolicy: 'TERMINATE_IF_RUNNING',
      parentClosePolicy: ParentClosePolicy.TERMINATE,
      cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
      staticSummary: clipSummary(`${path}: ${text}`),
      ...(args.searchAttributes ? { typedSearchAttributes: attributesOf(plan.pipeline) } : {}),
    });
    const pass = (signal: string) => (): void =>
      // Said to a run that is cancelled already: the server takes nothing from a scope that is.
      void CancellationScope.nonCancellable(() => child.signal(signal)).catch(() => {
        // It has ended meanwhile.
      });
    const stops = [
      cancelPart(child.workflowId, scope),
      abandonment.tell(pass(ABANDON_SIGNAL)),
      shields.tell(pass(FORCE_SIGNAL)),
    ];
    try {
      const view = await child.result();
      const { status, outputs, error } = view;
      return { status, outputs, ...(error === undefined ? {} : { error }) };
    } finally {
      for (const stop of stops) stop();
    }
  } catch (error) {
    if (!(error instanceof ChildWorkflowFailure)) throw error;
    if (!isCancellation(error)) return toEnd(error, path);
    if (scope.consideredCancelled) throw error;
    return { status: 'cancelled', outputs: {} };
  }
}

/** A part that failed says how in the details of its failure; one that was ended from outside says nothing. */
function toEnd({ cause }: ChildWorkflowFailure, path: string): RunResult {
  const details: unknown = cause !== undefined && 'details' in cause ? cause.details : undefined;
  const view = Array.isArray(details) ? (details[0] as Partial<RunView> | undefined) : undefined;
  if (view?.status === 'failed' && view.error !== undefined)
    return { status: 'failed', outputs: {}, error: view.error };
  return {
    status: 'failed',
    outputs: {},
    error: {
      code: 'PIPELINE_LOST',
      message: `The workflow of ${path} ended without its result: ${errorMessage(cause)}`,
      hint: 'Its `finally` steps did not run. The Temporal UI shows who ended it.',
      step: path,
    },
  };
}

/** The task is that of the run, as it was started. */
function attributesOf(pipeline: string) {
  const keyword = (name: (typeof ATTRIBUTES)[number]) =>
    defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);
  const task = workflowInfo().typedSearchAttributes.get(keyword('AditTask'));
  return [
    { key: keyword('AditPipeline'), value: pipeline },
    ...(task === undefined ? [] : [{ key: keyword('AditTask'), value: task }]),
  ];
}
