import type { JsonObject } from '../core/json.js';

/** The task repository that the local network serves; both of its tasks use it. */
const PACK = 'competition_packs/tiny_ternary_frontier';
const TRAIN = `${PACK}/train.py`;

/** Slugs of the local network's tasks. */
export const DEMO_TASKS = ['tiny-ternary-frontier', 'tiny-ternary-frontier-centerless'] as const;

/** What the demo's round tries: another rounding of the weights, and training that knows about the rounding. */
export function demoInputs(task: string): JsonObject {
  const change = (name: string, method: string): JsonObject => ({
    name,
    edits: [{ path: TRAIN, find: '"method": "round"', replace: `"method": "${method}"` }],
  });
  return {
    task,
    train: `python3 ${TRAIN} --profile default --output "$ADIT_OUTPUT_DIR/artifact" --checkpoint-dir "$ADIT_CHECKPOINT_DIR"`,
    recipes: [
      change('row thresholds', 'row_threshold'),
      change('quantisation-aware training', 'qat'),
    ],
    summary:
      'Ternary weights chosen by another method than plain rounding, measured on this machine with the benchmark command of the task against the untouched baseline.',
    ...(task.endsWith('-centerless')
      ? {
          idea: 'Choose one threshold for each row of a weight matrix instead of rounding all weights alike.',
        }
      : {}),
  };
}
