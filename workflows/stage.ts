import {
  defineSearchAttributeKey,
  SearchAttributeType,
  type SearchAttributePair,
} from '@temporalio/common';
import {
  CancellationScope,
  patched,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';

const STAGE = defineSearchAttributeKey('AditStage', SearchAttributeType.KEYWORD);

/**
 * Each change costs the server a write to its index of runs, and one that must wait a timer and a workflow task: as much
 * as several short steps.
 */
const PACE_MS = 5_000;

/** Of runs from before the patch `lean`. */
const EARLIER_PACE_MS = 1_000;

/**
 * Shows the stage of a run as its search attribute: at once, but at most once in five seconds, and then the newest.
 * `find` gives the stage, and is called only when it could be shown. `isFirst`: nothing of the run has been shown by a
 * workflow yet. `isLean`: the run has that patch. `showLast` shows the stage at the end, with what is given besides.
 */
export function createStage(
  find: () => string,
  { isFirst, isLean }: { readonly isFirst: boolean; readonly isLean: boolean },
): { show(): void; showLast(more?: readonly SearchAttributePair[]): void } {
  const paceMs = isLean ? PACE_MS : EARLIER_PACE_MS;
  // Whoever starts a run gives it the stage that it begins with, which saves its first step an event.
  const given = isFirst ? workflowInfo().typedSearchAttributes.get(STAGE) : undefined;
  let shown = given ?? '';
  let shownAtMs = given === undefined ? Number.NEGATIVE_INFINITY : Date.now();
  let waits = false;

  function upsert(stage: string): void {
    if (stage === shown) return;
    shown = stage;
    shownAtMs = Date.now();
    upsertSearchAttributes([{ key: STAGE, value: stage }]);
  }

  return {
    show() {
      if (waits) return;
      const stage = find();
      if (stage === shown) return;
      const waitMs = shownAtMs + paceMs - Date.now();
      // A history from before there was a pace shows each at once.
      if (waitMs <= 0 || !(isLean || patched('stage-pace'))) {
        upsert(stage);
        return;
      }
      waits = true;
      const pause = CancellationScope.nonCancellable(() =>
        sleep(waitMs, { summary: 'until the stage is shown' }),
      );
      void pause.then(() => {
        waits = false;
        upsert(find());
      });
    },
    showLast(more = []) {
      const stage = find();
      const pairs = [...(stage === shown ? [] : [{ key: STAGE, value: stage }]), ...more];
      shown = stage;
      if (pairs.length > 0) upsertSearchAttributes(pairs);
    },
  };
}
