/**
 * Cancels a part of a run in whatever execution it is by now. A request of the SDK's own names the execution that a
 * child began with: where that has gone on with a new history the server takes the request, and nobody hears of it.
 */
import {
  CancellationScope,
  condition,
  getExternalWorkflowHandle,
  log,
  patched,
} from '@temporalio/workflow';
import { errorMessage } from '../core/error.js';

/** Requests under way at one time: a server takes 2,000 of a run, and the SDK makes one of its own for each part. */
const MAX_UNDER_WAY = 100;

/** The result asks for the cancellation of a part when its scope is cancelled, and gives what ends the interest in it. */
export function createCancelPart(): (workflowId: string, scope: CancellationScope) => () => void {
  let underWay = 0;
  return (workflowId, scope) => {
    let isOver = false;
    const cancel = async (): Promise<void> => {
      while (underWay >= MAX_UNDER_WAY) await condition(() => underWay < MAX_UNDER_WAY);
      if (isOver) return;
      underWay += 1;
      try {
        await getExternalWorkflowHandle(workflowId).cancel();
      } catch (error) {
        log.info('A part of the run had ended before it could be cancelled.', {
          reason: errorMessage(error),
        });
      } finally {
        underWay -= 1;
      }
    };
    scope.cancelRequested.catch(() => {
      // A history from before has the request of the SDK alone.
      if (!isOver && patched('cancel-part')) void CancellationScope.nonCancellable(cancel);
    });
    return () => {
      isOver = true;
    };
  };
}
