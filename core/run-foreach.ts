/** Bounded fan-out over a list: lanes that take the next item until one breaks off or the list is done. */
import { brokenBy, findBroken, goOnBreakingOff } from './broken.js';
import { evaluate } from './evaluate.js';
import { scopeOf, type Frame } from './frame.js';
import type { Json, JsonObject } from './json.js';
import { createDrain, type Moving } from './moving-block.js';
import type { ForeachStep } from './plan.js';
import type { Powers } from './powers.js';
import { expression, StepEnd } from './step-end.js';
import type { StepStates } from './step-states.js';

type Item = { readonly collected: Json } | { readonly failure: StepEnd };

/** The block's outputs, `failures` and, with `collect`, `results`. `runItem` gives what stays of an item, `collected` in it. */
export async function runForeach(
  step: ForeachStep,
  path: string,
  frame: Frame,
  { states, powers }: { readonly states: StepStates; readonly powers: Powers },
  {
    runItem,
    moving,
  }: {
    readonly runItem: (item: Json, index: number) => Promise<JsonObject>;
    readonly moving: Moving;
  },
): Promise<JsonObject> {
  const items = expression(path, 'foreach', () => evaluate(step.items, scopeOf(frame)));
  if (!Array.isArray(items)) {
    throw new StepEnd(
      { code: 'EXPRESSION_FAILED', message: `foreach of ${path} needs a list.`, step: path },
      'failed',
    );
  }
  const count = items.length;
  const runAt = (index: number): Promise<JsonObject> => runItem(items[index] ?? null, index);
  const parts = items.map((_item, index) => `${path}#${index}`);
  const before = findBroken(path, parts, step.fail, states);
  if (before !== null) await goOnBreakingOff(before, path, parts, { states, powers }, runAt);
  const done = Array.from<unknown, Item | undefined>({ length: count }, () => undefined);
  let next = 0;
  let first: unknown;
  let broken = false;

  await powers.scoped(async (cancel) => {
    const breakOff = (error: unknown): void => {
      if (broken) return;
      broken = true;
      first = error;
      states.breakOff(path, brokenBy(error));
      cancel();
    };
    const lanes = Math.min(step.limit, count);
    const drain = createDrain(path, lanes, moving, powers);
    const lane = async (): Promise<void> => {
      while (!broken && next < count) {
        if (!states.has(parts[next] ?? '') && drain.isWanted() && (await drain.isDone())) return;
        if (broken || next >= count) return;
        const index = next;
        next += 1;
        try {
          const outputs = await runAt(index);
          done[index] = { collected: outputs['collected'] ?? null };
        } catch (error) {
          // A stop is a decision about the run, not about the item: it is never waited out.
          if (error instanceof StepEnd && error.ends === 'failed' && step.fail === 'wait') {
            done[index] = { failure: error };
          } else {
            breakOff(error);
          }
        }
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  });
  if (broken) throw first;
  if (next < count) return moving.run();
  const { results, failures } = ended(path, done);
  return step.collect === undefined ? { failures } : { results, failures };
}

function ended(
  path: string,
  done: ReadonlyArray<Item | undefined>,
): { readonly results: Json[]; readonly failures: Json[] } {
  const results: Json[] = [];
  const failures: Json[] = [];
  let firstFailure: StepEnd | undefined;
  done.forEach((item, index) => {
    if (item === undefined) return;
    if ('collected' in item) {
      results.push(item.collected);
      return;
    }
    const { code, message } = item.failure.report;
    firstFailure ??= item.failure;
    failures.push({ index, code, message });
  });
  if (firstFailure === undefined || results.length > 0) return { results, failures };
  const { report } = firstFailure;
  throw new StepEnd(
    {
      code: 'FOREACH_FAILED',
      message: `All ${failures.length} items of ${path} failed; the first: ${report.code}: ${report.message}`,
      ...(report.hint === undefined ? {} : { hint: report.hint }),
      step: report.step ?? path,
    },
    'failed',
  );
}
