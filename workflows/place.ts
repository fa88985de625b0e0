import { ApplicationFailure, CancellationScope, proxyActivities } from '@temporalio/workflow';
import { PLACE_ACTIVITY, type PlaceArgs, type PlaceResult } from './contract.js';

/** The host of a run's programs that need no workspace: asked for once, and the same for all of them. */
export interface Place {
  /** The task queue of the host. */
  find(): Promise<string>;
  /** The queue, once it was found; undefined before. */
  readonly found: string | undefined;
}

/** `found`: the queue that an earlier execution of the run had found. */
export function createPlace(runId: string, found?: string): Place {
  let queue = found;
  let placed = found === undefined ? undefined : Promise.resolve(found);
  const ask = async (): Promise<string> => {
    const { [PLACE_ACTIVITY]: find } = proxyActivities<
      Record<string, (argument: PlaceArgs) => Promise<unknown>>
    >({
      startToCloseTimeout: '20s',
      retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '10s' },
      summary: 'find a host for the programs of the run',
    });
    const result = (await find?.({ runId })) as Partial<PlaceResult> | undefined;
    if (typeof result?.queue !== 'string')
      throw ApplicationFailure.nonRetryable('No host was named for the run.', 'INTERNAL');
    queue = result.queue;
    return result.queue;
  };
  return {
    find: () => {
      const cancelled = CancellationScope.current().cancelRequested;
      placed ??= CancellationScope.nonCancellable(ask);
      const result = placed;
      result.catch(() => {
        // The next start asks again.
        if (placed === result) placed = undefined;
      });
      return Promise.race([result, cancelled]);
    },
    get found() {
      return queue;
    },
  };
}
