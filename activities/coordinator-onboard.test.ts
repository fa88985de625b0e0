import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../core/json.js';
import {
  makeWork,
  startRound,
  TASK_ID,
  taskRecord,
  type Round,
} from '../test/support/coordinator-round.js';
import { coordinatorOnboard } from './coordinator-onboard.js';
import { findContradictions } from './onboarding-contradiction.js';

const stored = (kind: 'binary' | 'ternary'): string =>
  readFileSync(
    new URL(
      `../test/fixtures/coordinator/onboard-qwen3-27b-${kind}-frontier.partial.md`,
      import.meta.url,
    ),
    'utf8',
  );

/** The record that fits a stored page; its JSON was never stored (fixtures' README). */
function recordOf(kind: 'binary' | 'ternary'): JsonObject {
  const id =
    kind === 'binary'
      ? 'c54218ce-9ffd-4389-b97d-2d952adb4a1a'
      : '802f6eba-874e-43c4-b097-33a204684bf4';
  return {
    id,
    slug: `qwen3-27b-${kind}-frontier`,
    title: `Qwen3.6 27B mostly-${kind} compression frontier`,
    repository: `https://github.com/AlveusLabs/autoresearch-task-qwen3-27b-${kind}-frontier.git`,
    base_ref: 'production',
    allowed_patch_paths: [`competition_packs/qwen3_27b_${kind}_frontier/train.py`],
    max_patch_bytes: 262_144,
    metric_name: 'heldout_ppl',
    metric_direction: 'minimize',
    ranking_mode: 'scalar',
    secondary_metric_name: null,
    secondary_metric_direction: null,
    competition_mode: kind === 'binary' ? 'standard' : 'centerless',
    min_peer_evaluations: 2,
    time_budget_seconds: 21_600,
    task_state: 'live',
    is_active: true,
    onboard_path: `/api/v1/tasks/${id}/onboard.md`,
  };
}

describe('findContradictions', () => {
  it.each(['binary', 'ternary'] as const)(
    'finds none between the stored %s page and its record',
    (kind) => {
      expect(findContradictions(stored(kind), recordOf(kind))).toEqual([]);
    },
  );

  it.each<[string, JsonObject, string]>([
    ['id', { id: 'other' }, 'Task id is'],
    [
      'slug',
      { slug: 'other' },
      'Slug is "`qwen3-27b-binary-frontier`" on the page and "other" in the record',
    ],
    ['title', { title: 'other' }, 'Title is'],
    [
      'metric',
      { metric_name: 'bits' },
      'Metric is "`heldout_ppl` (minimize)" on the page and "bits (minimize)" in the record',
    ],
    ['direction', { metric_direction: 'maximize' }, 'Metric is'],
    ['ranking', { ranking_mode: 'pareto' }, 'Ranking mode is'],
    [
      'secondary metric',
      { secondary_metric_name: 'size', secondary_metric_direction: 'minimize' },
      'Secondary metric is',
    ],
    ['mode', { competition_mode: 'centerless' }, 'Competition mode is'],
    ['evaluations', { min_peer_evaluations: 3 }, 'Minimum peer evaluations for consensus is'],
    [
      'budget',
      { time_budget_seconds: 1_800 },
      'Time budget is "`21600` seconds" on the page and "1800 seconds" in the record',
    ],
    ['repository', { repository: 'https://github.com/evil/x.git' }, 'Repository is'],
    ['ref', { base_ref: 'main' }, 'Base ref is'],
    ['onboarding path', { onboard_path: '/elsewhere.md' }, 'Onboarding endpoint is'],
  ])('finds another %s', (_what, change, expected) => {
    const found = findContradictions(stored('binary'), { ...recordOf('binary'), ...change });
    expect(found[0]).toContain(expected);
  });

  it('ignores the scheme of a URL', () => {
    const repository =
      'http://github.com/AlveusLabs/autoresearch-task-qwen3-27b-binary-frontier.git';
    expect(findContradictions(stored('binary'), { ...recordOf('binary'), repository })).toEqual([]);
  });

  it('does not miss a line that the page does not have', () => {
    expect(findContradictions('# onboard.md\n', recordOf('binary'))).toEqual([]);
  });

  it('reads lines of the three sections only', () => {
    const record = recordOf('binary');
    expect(findContradictions('## Model Contract\n- Slug: other\n', record)).toEqual([]);
    expect(findContradictions('Slug: other\n- Slug: other\n', record)).toEqual([]);
    expect(findContradictions('## Source\n- Slug: other\n', record)).toHaveLength(1);
    expect(
      findContradictions('## Allowed Edit Surfaces\n- Max patch bytes: `9`\n', record),
    ).toEqual(['Max patch bytes is "`9`" on the page and "262144" in the record']);
  });

  it('ignores a label that the record knows nothing of', () => {
    expect(
      findContradictions('## Competition\n- Prize: 5\n- constructor: x\n', recordOf('binary')),
    ).toEqual([]);
  });
});

describe('coordinator.onboard', () => {
  let round: Round;
  beforeEach(async () => {
    round = await startRound();
  });
  afterEach(() => round.close());

  const onboard = async () =>
    coordinatorOnboard.run({ task: (await makeWork(round)).task }, round.context('onboard'));

  it('keeps the page as it was served', async () => {
    const page = `# onboard.md\r\n\n## Competition\n- Slug: \`${String(taskRecord['slug'])}\`\n`;
    round.fake.pages.set(TASK_ID, page);
    const { onboarding } = await onboard();
    expect(onboarding.taskId).toBe(TASK_ID);
    expect((await round.adapters.store.read(onboarding.file)).toString()).toBe(page);
  });

  it('stops where the page contradicts the record', async () => {
    round.fake.pages.set(
      TASK_ID,
      '## Source\n- Base ref: `main`\n- Repository: http://example.org/tiny.git\n',
    );
    await expect(onboard()).rejects.toMatchObject({
      code: 'ONBOARDING_CONTRADICTION',
      message:
        'The onboarding page of "tiny-ternary-frontier" contradicts the task: Base ref is "`main`" on the page and "production" in the record.',
    });
  });

  it('says that there is no page', async () => {
    await expect(onboard()).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_FOUND',
      message: `GET /api/v1/tasks/${TASK_ID}/onboard.md was answered 404: Not Found`,
    });
  });
});
