/** The tasks that every devnet has: one repository under two modes (task-repositories 17.1). */
import type { CoordinatorState } from './coordinator/state.js';
import { createTask, taskCreationSchema } from './coordinator/tasks.js';

export const REPOSITORY_NAME = 'tiny-ternary-frontier';

const PACK = 'competition_packs/tiny_ternary_frontier';

const RECORD = {
  title: 'Tiny mostly-ternary compression frontier',
  base_ref: 'production',
  setup_command: `python3 ${PACK}/prepare.py`,
  benchmark_command: `python3 ${PACK}/benchmark.py`,
  result_path: `${PACK}/last_run.json`,
  allowed_patch_paths: [`${PACK}/train.py`],
  max_patch_bytes: 262_144,
  metric_name: 'heldout_ppl',
  metric_direction: 'minimize',
  ranking_mode: 'scalar',
  min_peer_evaluations: 2,
  time_budget_seconds: 120,
} as const;

const BRIEF =
  'Train and pack a mostly-ternary character model within the bit budget, and lower its held-out perplexity. `program.md` in the task pack is the specification.';

const NOTES = `- Model family: tiny character model, 29 symbols
- Submissions carry a runtime artifact: the packed model as one zip, at most 2.2125 bits per parameter of the loaded model.
- Publish the artifact at an https address that answers without redirects, and submit its address, SHA-256 and size.
- Replay runs the fixed setup and benchmark commands; train.py is not run again.`;

const MODES = [
  { slug: REPOSITORY_NAME, competition_mode: 'standard' },
  { slug: `${REPOSITORY_NAME}-centerless`, competition_mode: 'centerless' },
] as const;

/** Makes the tasks that are missing, and points those that exist to where things are now. */
export function seedTasks(
  state: CoordinatorState,
  places: { repository: string; privateManifest: string },
): string[] {
  const validator_benchmark_env = {
    AUTORESEARCH_HELDOUT_DATASET: 'validator-private-shard',
    AUTORESEARCH_PRIVATE_HELDOUT_MANIFEST: places.privateManifest,
    AUTORESEARCH_REQUIRE_SUBMISSION_ARTIFACT: '1',
  };
  return MODES.map(({ slug, competition_mode }) => {
    const existing = state.tasks.list({ slug })[0];
    if (existing === undefined) {
      const creation = {
        ...RECORD,
        slug,
        competition_mode,
        brief: BRIEF,
        onboard_md: NOTES,
        repository: places.repository,
        validator_benchmark_env,
      };
      createTask(state, taskCreationSchema.parse(creation));
    } else {
      state.tasks.replace({
        ...existing,
        repository: places.repository,
        hidden: { ...existing.hidden, validator_benchmark_env },
      });
    }
    return slug;
  });
}
