import { z } from 'zod';
import type { TaskRecord } from '../adapters/coordinator/records.js';
import { taskSchema, type FileRef, type Task } from '../compiler/values.js';
import { StepError } from '../core/error.js';
import { plainText } from '../core/plain-text.js';
import { defineStep } from './step-type.js';

const MODES: readonly string[] = ['standard', 'centerless'];

export const coordinatorDiscover = defineStep({
  name: 'coordinator.discover',
  summary:
    'Finds a live task by its slug, refuses one that cannot be mined here, and keeps its record.',
  input: z.object({
    slug: z.string().min(1).describe('Slug of the task; compared without case.'),
  }),
  output: z.object({ task: taskSchema.describe('The task as it is now.') }),
  defaults: {
    timeout: '15m',
    heartbeat: '20s',
    retry: { attempts: 10, first: '2s', factor: 2, most: '1m' },
  },
  errors: [
    'TASK_NOT_FOUND',
    'TASK_NOT_LIVE',
    'TASK_UNSUPPORTED',
    'SURFACE_UNCLEAR',
    'SETTING_MISSING',
    'SETTING_INVALID',
    'COORDINATOR_UNAVAILABLE',
    'COORDINATOR_REPLY_INVALID',
    'COORDINATOR_REPLY_TOO_LARGE',
    'COORDINATOR_REDIRECTED',
    'COORDINATOR_RATE_LIMITED',
  ],
  example: `
- id: discover
  uses: coordinator.discover
  with:
    slug: tiny-ternary-frontier
`,
  run: async ({ slug }, { adapters, signal }) => {
    const { coordinator, store } = adapters;
    const { task, liveSlugs } = await coordinator.findTask(slug, signal);
    if (task === null) {
      const live = liveSlugs.slice(0, 20).map((text) => plainText(text, 120));
      throw new StepError(
        'TASK_NOT_FOUND',
        `The coordinator ${coordinator.baseUrl()} has no task "${slug}".`,
        {
          hint: live.length === 0 ? 'It has no live task at all.' : `Live are: ${live.join(', ')}.`,
        },
      );
    }
    assertMinable(task);
    const record = await store.putBytes(`${JSON.stringify(task.raw, null, 2)}\n`);
    return { task: toTask(task, record) };
  },
});

function assertMinable({ known }: TaskRecord): void {
  const name = `The task "${known.slug}"`;
  if (known.task_state !== 'live' || !known.is_active) {
    const state = plainText(known.task_state, 40);
    throw new StepError(
      'TASK_NOT_LIVE',
      `${name} is not live: its state is "${state}"${known.is_active ? '' : ' and it is not active'}.`,
      { hint: 'Wait until it is live, or choose another task.' },
    );
  }
  if (!MODES.includes(known.competition_mode)) {
    throw new StepError(
      'TASK_UNSUPPORTED',
      `${name} has the competition mode "${plainText(known.competition_mode, 40)}", which is not supported.`,
      { hint: 'Supported are standard and centerless.' },
    );
  }
  const unclear = findUnclearSurface(known.allowed_patch_paths);
  if (unclear !== null) {
    throw new StepError('SURFACE_UNCLEAR', `${name} has an unclear edit surface: ${unclear}.`, {
      hint: 'A patch for it could not be judged. Ask the operator of the coordinator.',
    });
  }
}

/**
 * Why a list of allowed paths does not say what may be edited: it is empty, or a pattern is empty,
 * absolute, has a `..`, or matches everything. Null when it does say.
 */
export function findUnclearSurface(patterns: readonly string[]): string | null {
  if (patterns.length === 0) return 'its list of allowed paths is empty';
  for (const pattern of patterns) {
    const shown = `"${plainText(pattern, 120)}"`;
    if (pattern.trim() === '') return 'it has an empty path';
    if (/^(?:[/\\~]|[A-Za-z]:[/\\])/.test(pattern)) return `${shown} is absolute`;
    if (pattern.split(/[/\\]/).includes('..')) return `${shown} has ".."`;
    // Without wildcards, classes and separators, nothing is left that a path would have to have.
    if (pattern.replace(/\[[^\]]*\]/g, '').replace(/[*?./\s]/g, '') === '') {
      return `${shown} matches everything`;
    }
  }
  return null;
}

function toTask({ known }: TaskRecord, record: FileRef): Task {
  return {
    id: known.id,
    slug: known.slug,
    title: known.title,
    repository: known.repository,
    baseRef: known.base_ref,
    ...(known.setup_command === undefined ? {} : { setupCommand: known.setup_command }),
    benchmarkCommand: known.benchmark_command,
    ...(known.result_path === undefined ? {} : { resultPath: known.result_path }),
    allowedPatchPaths: known.allowed_patch_paths,
    maxPatchBytes: known.max_patch_bytes,
    metricName: known.metric_name,
    metricDirection: known.metric_direction,
    rankingMode: known.ranking_mode,
    ...(known.secondary_metric_name === undefined
      ? {}
      : { secondaryMetricName: known.secondary_metric_name }),
    ...(typeof known.secondary_metric_direction === 'string'
      ? { secondaryMetricDirection: known.secondary_metric_direction }
      : {}),
    competitionMode: known.competition_mode,
    ...(typeof known.min_peer_evaluations === 'number'
      ? { minPeerEvaluations: known.min_peer_evaluations }
      : {}),
    timeBudgetSeconds: known.time_budget_seconds,
    taskState: known.task_state,
    isActive: known.is_active,
    ...(known.onboard_path === undefined ? {} : { onboardPath: known.onboard_path }),
    record,
  };
}
