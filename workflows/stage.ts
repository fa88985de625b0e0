import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { CancellationScope, patched, sleep, upsertSearchAttributes } from '@temporalio/workflow';

const STAGE = defineSearchAttributeKey('AditStage', SearchAttributeType.KEYWORD);

/** Each change costs the server a write to its index of runs, which for a short step is a good part of the step. */
const PACE_MS = 1_000;

/** Shows the stage of a run as its search attribute: at once, but at most once a second, and then the newest. */
export function createStage(): { show(stage: string): void; showLast(stage: string): void } {
  let current = '';
  let shown = '';
  let shownAtMs = Number.NEGATIVE_INFINITY;
  let waits = false;

  function upsert(): void {
    if (current === shown) return;
    shown = current;
    shownAtMs = Date.now();
    upsertSearchAttributes([{ key: STAGE, value: current }]);
  }

  return {
    show(stage) {
      current = stage;
      if (waits) return;
      const waitMs = shownAtMs + PACE_MS - Date.now();
      // A history from before shows each at once.
      if (waitMs <= 0 || !patched('stage-pace')) {
        upsert();
        return;
      }
      waits = true;
      const pause = CancellationScope.nonCancellable(() =>
        sleep(waitMs, { summary: 'until the stage is shown' }),
      );
      void pause.then(() => {
        waits = false;
        upsert();
      });
    },
    showLast(stage) {
      current = stage;
      upsert();
    },
  };
}
