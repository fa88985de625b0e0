/** Where the time of a chain goes, from the times in its history. */
import type { WorkflowHandle } from '@temporalio/client';

export interface Timeline {
  /** From an activity's scheduling to its start: mean, in milliseconds. */
  readonly queuedMs: number;
  /** From its start to its completion. */
  readonly runningMs: number;
  /** From there to the scheduling of the next. */
  readonly decidingMs: number;
}

export async function readTimeline(handle: WorkflowHandle): Promise<Timeline> {
  const { events } = await handle.fetchHistory();
  const times = { scheduled: [] as number[], started: [] as number[], completed: [] as number[] };
  for (const event of events ?? []) {
    const { seconds, nanos } = event.eventTime ?? {};
    const ms = Number(seconds ?? 0) * 1_000 + (nanos ?? 0) / 1e6;
    if (event.activityTaskScheduledEventAttributes) times.scheduled.push(ms);
    if (event.activityTaskStartedEventAttributes) times.started.push(ms);
    if (event.activityTaskCompletedEventAttributes) times.completed.push(ms);
  }
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  const between = (from: readonly number[], to: readonly number[]): number =>
    mean(to.slice(0, from.length).map((ms, index) => ms - (from[index] ?? ms)));
  return {
    queuedMs: between(times.scheduled, times.started),
    runningMs: between(times.started, times.completed),
    decidingMs: between(times.completed, times.scheduled.slice(1)),
  };
}

export function describeTimeline({ queuedMs, runningMs, decidingMs }: Timeline): string {
  return `queued ${queuedMs.toFixed(1)}, activity ${runningMs.toFixed(1)}, deciding ${decidingMs.toFixed(1)} ms`;
}
