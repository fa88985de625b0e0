/**
 * Tells hooks what happens to a run. Each event is delivered by a workflow of its own, which outlives the run: so a
 * target that is down holds up nothing, and is told when it is back.
 *
 * Invariants:
 * 1. An event is told once: its id is that of the workflow that delivers it, and the server starts no second one.
 * 2. Nothing here makes a run fail or wait, but for the server's word that the delivery of its end has begun.
 * 3. A run without hooks schedules nothing.
 * 4. What is under way is bounded: a server refuses an answer beyond 4 MiB and a run with 2,000 children, again and
 *    again, and the run would hang.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  ApplicationFailure,
  CancellationScope,
  log,
  proxyActivities,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { errorMessage, type ErrorReport } from '../core/error.js';
import { HOOKS, noticeOf, type Hook, type Notice, type NoticeEvent } from '../core/notice.js';
import { jsonSizeBytes } from '../core/json-size.js';
import type { RunResult, StepState } from '../core/run-state.js';
import { clipSummary } from './clip-summary.js';
import { NOTIFICATION_TYPE, NOTIFY_ACTIVITY, type NotifyArgs, type RunArgs } from './contract.js';

/** Deliveries of one run at one time: far below what a server takes of its children. */
const MAX_UNDER_WAY = 500;

/** What the execution that tells must bear in mind. */
interface Execution {
  /** Waits until so many bytes still fit into the answer to the server. */
  makeRoom(bytes: number): Promise<void> | null;
  /** Runs a body during which the run does not go on as another execution. */
  keep<T>(body: () => Promise<T>): Promise<T>;
}

export class Notices {
  readonly #args: RunArgs;
  readonly #run: string;
  readonly #execution: Execution;
  #underWay = 0;

  constructor(args: RunArgs, run: string, execution: Execution) {
    this.#args = args;
    this.#run = run;
    this.#execution = execution;
  }

  /** A step waits for a person: told in the background. */
  waits(path: string, state: StepState | undefined, error?: ErrorReport): void {
    const event = state?.uses === 'approve' ? 'approval' : 'parked';
    // Since when it waits: a worker that comes by it again, also in a later part of the run, tells the same event.
    const time = state?.parkedAt ?? state?.startedAt ?? new Date().toISOString();
    if (this.#isCarried(path, time)) return;
    if (this.#underWay >= MAX_UNDER_WAY) {
      if (this.#args.notify !== undefined)
        log.warn('Hooks have too much to take; an event is not told.', { event, step: path });
      return;
    }
    const about = { step: path, start: state?.attempts ?? 0 };
    void this.#tell(event, time, error === undefined ? about : { ...about, error });
  }

  /** The run has ended; resolves when the delivery has begun. The end of a part of a run is told by the whole. */
  async ended({ status, error }: RunResult): Promise<void> {
    if (status === 'running' || workflowInfo().parent !== undefined) return;
    await this.#tell(status, new Date().toISOString(), error === undefined ? {} : { error });
  }

  /** It waited already when this execution went on with the run, and the one before has told of it. */
  #isCarried(path: string, time: string): boolean {
    const { carried, state } = this.#args;
    const before = state?.steps[path];
    if (carried === undefined || before?.status !== 'parked') return false;
    return (before.parkedAt ?? before.startedAt) === time;
  }

  async #tell(
    event: NoticeEvent,
    time: string,
    about: Parameters<typeof noticeOf>[3],
  ): Promise<void> {
    const { notify, plan, roundId } = this.#args;
    if (notify?.events.includes(event) !== true) return;
    const origin = { run: this.#run, round: roundId, pipeline: plan.pipeline };
    const notice = noticeOf(origin, event, time, about);
    const args: NotificationArgs = {
      notice,
      ...(notify.hooks === undefined ? {} : { hooks: notify.hooks }),
    };
    this.#underWay += 1;
    try {
      const summary = `tells hooks: ${event}${about.step === undefined ? '' : ` ${about.step}`}`;
      const delivery = await CancellationScope.nonCancellable(() =>
        this.#execution.keep(async () => {
          await this.#execution.makeRoom(jsonSizeBytes({ ...notice }));
          return startChild(NOTIFICATION_TYPE, {
            workflowId: notice.id,
            args: [args],
            parentClosePolicy: 'ABANDON',
            cancellationType: 'ABANDON',
            workflowIdReusePolicy: 'REJECT_DUPLICATE',
            staticSummary: clipSummary(summary),
          });
        }),
      );
      const isOver = (): void => {
        this.#underWay -= 1;
      };
      void delivery.result().then(isOver, isOver);
    } catch (reason) {
      this.#underWay -= 1;
      if (reason instanceof WorkflowExecutionAlreadyStartedError) return;
      log.warn('Hooks could not be told of an event.', { event, reason: errorMessage(reason) });
    }
  }
}

/** The argument of a notification. */
interface NotificationArgs {
  readonly notice: Notice;
  /** Those that are set where the run was started; absent: those that the worker has. */
  readonly hooks?: readonly Hook[];
}

/** How each hook took a notice. */
type Delivery = 'delivered' | 'not set' | 'given up';

/** Delivers one notice to every hook; fails when one of them did not take it in all the time. */
export async function notification({
  notice,
  hooks,
}: NotificationArgs): Promise<{ readonly [hook: string]: Delivery }> {
  const ends = await Promise.all(
    (hooks ?? HOOKS).map(async (hook): Promise<readonly [Hook, Delivery, string]> => {
      try {
        const delivery = await deliver(hook)({ notice, hook, required: hooks !== undefined });
        return [hook, delivery, ''];
      } catch (error) {
        const cause = error instanceof Error && 'cause' in error ? error.cause : error;
        return [hook, 'given up', errorMessage(cause)];
      }
    }),
  );
  const lost = ends.filter(([, delivery]) => delivery === 'given up');
  if (lost.length > 0) {
    throw ApplicationFailure.nonRetryable(
      lost.map(([hook, , reason]) => `The ${hook} was not told: ${reason}`).join(' '),
      'NOTICE_LOST',
    );
  }
  return Object.fromEntries(ends.map(([hook, delivery]) => [hook, delivery]));
}

/** For three days: a target may be down over a weekend. */
function deliver(hook: Hook): (args: NotifyArgs) => Promise<Exclude<Delivery, 'given up'>> {
  const { [NOTIFY_ACTIVITY]: notify } = proxyActivities<
    Record<string, (args: NotifyArgs) => Promise<Exclude<Delivery, 'given up'>>>
  >({
    activityId: hook,
    scheduleToCloseTimeout: '3d',
    startToCloseTimeout: '3m',
    // A worker that died on the way: the next one tells the same event again.
    heartbeatTimeout: '10s',
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '10m' },
    summary: `tell the ${hook}`,
  });
  if (notify === undefined) throw new Error(`There is no activity ${NOTIFY_ACTIVITY}.`);
  return notify;
}
