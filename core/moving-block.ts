/**
 * A block of many turns whose rest goes on as a part of the run, with a history of its own: beside a step that takes
 * hours the history of the run itself cannot begin anew.
 */
import type { Frame } from './frame.js';
import { jsonSizeBytes } from './json-size.js';
import { isJsonObject, type JsonObject } from './json.js';
import { endOfPart } from './part-end.js';
import type { ForeachStep, RepeatStep } from './plan.js';
import type { PartRequest, Powers } from './powers.js';
import type { RunResult } from './run-state.js';
import type { StepStates } from './step-states.js';

export interface Moving {
  /** Asked between two turns. */
  isWanted(): boolean;
  /** Runs what is left of the block, when nothing of it is under way: the outputs of all of it. Throws as the block. */
  run(): Promise<JsonObject>;
}

type BlockRequest = Omit<PartRequest, 'steps' | 'until'>;

/** A server takes no more than 2 MiB for what a part begins with; its state is at most half of that. */
const MAX_SEEN_BYTES = 800_000;

export function movingOf(
  step: ForeachStep | RepeatStep,
  path: string,
  frame: Frame,
  { states, powers }: { readonly states: StepStates; readonly powers: Powers },
  runPart: (request: BlockRequest) => Promise<RunResult>,
): Moving {
  let isTooLarge = false;
  return {
    isWanted: () => {
      if (isTooLarge || powers.movesOut?.(path) !== true) return false;
      isTooLarge = jsonSizeBytes(requestOf(step, path, frame)) > MAX_SEEN_BYTES;
      return !isTooLarge;
    },
    run: async () => {
      const state = states.get(path);
      if (state !== undefined) states.set(path, { ...state, part: true });
      const result = await runPart(requestOf(step, path, frame));
      if (result.status !== 'succeeded') throw endOfPart(path, result);
      return result.outputs;
    },
  };
}

function requestOf(
  { if: _asked, ...block }: ForeachStep | RepeatStep,
  path: string,
  { names, steps }: Frame,
): BlockRequest {
  const run = names['run'];
  const pipeline = isJsonObject(run) ? String(run['pipeline']) : '';
  const plan = { pipeline, sourceSha256: '', inputs: {}, steps: [block], outputs: [] };
  return { path, plan, summary: null, frame: { names, steps } };
}

/** For how long the lanes of a block wait for each other, so that its rest can move; and until they try again. */
const DRAIN_MS = 10_000;
const DRAIN_AGAIN_MS = 10 * 60_000;

/** What the lanes of a block do before it moves: nothing of it may be under way. */
export interface Drain {
  /** Asked between two turns of a lane. */
  isWanted(): boolean;
  /** True when no turn is under way any more; false when one takes its time, which does not hold up the others. */
  isDone(): Promise<boolean>;
}

export function createDrain(path: string, lanes: number, moving: Moving, powers: Powers): Drain {
  let idle = 0;
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  let tell = (): void => undefined;
  const allIdle = new Promise<boolean>((resolve) => {
    tell = () => resolve(true);
  });
  const timeIsOver = async (): Promise<boolean> => {
    try {
      await powers.sleep(DRAIN_MS, `${path}: until it can go on as a part`);
    } catch (error) {
      if (!powers.isCancellation(error)) throw error;
    }
    return false;
  };
  return {
    isWanted: () => powers.now() >= notBeforeMs && moving.isWanted(),
    isDone: async () => {
      idle += 1;
      if (idle === lanes) tell();
      const isDone = await powers.scoped(async (stop) => {
        const first = await Promise.race([allIdle, timeIsOver()]);
        stop();
        return first;
      });
      if (isDone) return true;
      idle -= 1;
      notBeforeMs = powers.now() + DRAIN_AGAIN_MS;
      return false;
    },
  };
}
