/**
 * Is a server throttled? Its dynamic configuration cannot be asked for, so it is measured, without a
 * worker: a workflow of our own, on a task queue of our own, whose tasks are taken and answered here.
 */
import { randomUUID } from 'node:crypto';
import type { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';

const STEPS = 24;
/** Steps that count: the first ones are served from the burst that the limit allows. */
const LATE_STEPS = 12;
const TIMER_MS = 100;

/** `CommandType` of Temporal's API. */
const SCHEDULE_ACTIVITY = 1;
const START_TIMER = 3;
const COMPLETE_WORKFLOW = 4;

export interface ServerMeasurement {
  /** A timer of 100 ms took so long, in milliseconds. */
  readonly timerMs: number;
  /** A step (activity task and workflow task) took so long once the burst was used up, in milliseconds (lower quartile). */
  readonly stepMs: number;
  /** Timers and retries under a second fire after a second (`history.timerProcessorMaxTimeShift`). */
  readonly slowTimers: boolean;
  /** A sequential run gets about 100 ms a step (`history.transferProcessorMaxPollRPS`). */
  readonly throttledSteps: boolean;
}

/** Measures timers and steps; at most about 5 seconds, and one short workflow `adit-doctor-<random>`. */
export async function measureServer(
  connection: Connection,
  namespace: string,
): Promise<ServerMeasurement> {
  const service = connection.workflowService;
  const workflowId = `adit-doctor-${randomUUID().slice(0, 8)}`;
  const taskQueue = { name: workflowId };
  const identity = 'adit doctor';

  const pollWorkflow = () => service.pollWorkflowTaskQueue({ namespace, taskQueue, identity });
  const pollActivity = () => service.pollActivityTaskQueue({ namespace, taskQueue, identity });
  const answer = (taskToken: Uint8Array, command: object): Promise<unknown> =>
    service.respondWorkflowTaskCompleted({ namespace, taskToken, identity, commands: [command] });

  return connection.withDeadline(Date.now() + 30_000, async () => {
    // Each poll is open before its task can come, as with a real worker: a late poll may wait at another partition.
    let nextTask = pollWorkflow();
    await service.startWorkflowExecution({
      namespace,
      workflowId,
      taskQueue,
      identity,
      workflowType: { name: 'adit-doctor' },
      requestId: randomUUID(),
      workflowExecutionTimeout: msToTs(60_000),
    });
    let { taskToken } = await nextTask;

    nextTask = pollWorkflow();
    const timerStarted = performance.now();
    await answer(taskToken, {
      commandType: START_TIMER,
      startTimerCommandAttributes: { timerId: 'tick', startToFireTimeout: msToTs(TIMER_MS) },
    });
    ({ taskToken } = await nextTask);
    const timerMs = performance.now() - timerStarted;

    const late: number[] = [];
    for (let index = 0; index < STEPS; index += 1) {
      nextTask = pollWorkflow();
      const activity = pollActivity();
      const startedAt = performance.now();
      await answer(taskToken, {
        commandType: SCHEDULE_ACTIVITY,
        scheduleActivityTaskCommandAttributes: {
          activityId: String(index),
          activityType: { name: 'tick' },
          taskQueue,
          startToCloseTimeout: msToTs(10_000),
        },
      });
      await service.respondActivityTaskCompleted({
        namespace,
        identity,
        taskToken: (await activity).taskToken,
      });
      ({ taskToken } = await nextTask);
      if (index >= STEPS - LATE_STEPS) late.push(performance.now() - startedAt);
    }
    await answer(taskToken, {
      commandType: COMPLETE_WORKFLOW,
      completeWorkflowExecutionCommandAttributes: {},
    });
    // The lower quartile: a busy machine makes some steps slow, a throttle makes all of them wait.
    const stepMs = late.sort((a, b) => a - b)[Math.floor(late.length / 4)] ?? 0;
    return { timerMs, stepMs, slowTimers: timerMs > 600, throttledSteps: stepMs > 70 };
  });
}
