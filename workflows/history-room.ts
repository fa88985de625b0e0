/** What a server takes of one run: its history, and one answer to it. */
import { sleep, workflowInfo } from '@temporalio/workflow';
import type { StepOutcome, StepRequest } from '../core/powers.js';

/** A server ends a run at 51,200 events or 50 MiB; up to 1,000 items may be under way. */
const MAX_HISTORY_EVENTS = 40_000;
const MAX_HISTORY_BYTES = 40 * 1024 * 1024;

/** Inputs that one workflow task hands out. */
const MAX_TASK_BYTES = 2 * 1024 * 1024;

/**
 * A step that no longer fits into the history fails here, in order: the server itself would end the run
 * without its `finally`, whose steps may use what is kept back for them.
 */
export function historyIsFull({
  path,
}: Pick<StepRequest, 'path'>): (StepOutcome & { kind: 'failed' }) | null {
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
 * Null where there is room for an input of so many bytes; else what waits for the next workflow task, when the inputs
 * that were handed out in this one fill its answer: many items with large inputs start at once, and a server takes no
 * answer beyond 4 MiB.
 */
export function createRoom(): (bytes: number) => Promise<void> | null {
  let task = { historyLength: -1, bytes: 0 };
  const takes = (bytes: number): boolean => {
    const { historyLength } = workflowInfo();
    if (historyLength !== task.historyLength) task = { historyLength, bytes: 0 };
    if (task.bytes > 0 && task.bytes + bytes > MAX_TASK_BYTES) return false;
    task.bytes += bytes;
    return true;
  };
  const wait = async (bytes: number): Promise<void> => {
    do await sleep(1, { summary: 'room for the next inputs' });
    while (!takes(bytes));
  };
  // Nearly always there is room, and a step costs less for each promise that it does without.
  return (bytes) => (takes(bytes) ? null : wait(bytes));
}
