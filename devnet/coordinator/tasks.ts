/** Tasks: creation by the operator, their states, and what of them is public (protocol 2.4, 2.12). */
import { z } from 'zod';
import { Problem, notFound } from './problem.js';
import type { ReplaySpec, TaskRecord } from './records.js';
import { newId, now, type CoordinatorState } from './state.js';

const direction = z.enum(['minimize', 'maximize']);

export const taskCreationSchema = z
  .object({
    slug: z.string().min(3).max(120),
    title: z.string().min(3).max(255),
    brief: z.string().max(20_000).nullable().default(null),
    onboard_md: z.string().max(40_000).nullable().default(null),
    repository: z.string().min(1),
    base_ref: z.string().min(1),
    setup_command: z.string().nullable().default(null),
    benchmark_command: z.string().min(1),
    result_path: z.string().nullable().default(null),
    allowed_patch_paths: z.array(z.string().min(1)).min(1).max(64),
    max_patch_bytes: z.number().int().positive().default(262_144),
    metric_name: z.string().min(1),
    metric_direction: direction,
    ranking_mode: z.enum(['scalar', 'pareto']).default('scalar'),
    secondary_metric_name: z.string().nullable().default(null),
    secondary_metric_direction: direction.nullable().default(null),
    competition_mode: z.enum(['standard', 'centerless', 'peer_evaluation']).default('centerless'),
    min_peer_evaluations: z.number().int().min(1).max(20).default(2),
    time_budget_seconds: z.number().int().min(1).max(86_400),
    validator_benchmark_env: z.record(z.string(), z.string()).default({}),
  })
  .refine(
    (task) =>
      task.ranking_mode === 'scalar' ||
      (task.secondary_metric_name !== null && task.secondary_metric_direction !== null),
    { error: 'pareto ranking needs a secondary metric and its direction', path: ['ranking_mode'] },
  );

export type TaskCreation = z.output<typeof taskCreationSchema>;

export function createTask(state: CoordinatorState, creation: TaskCreation): TaskRecord {
  const slug = creation.slug.toLowerCase();
  if (state.tasks.list().some((task) => task.slug.toLowerCase() === slug)) {
    throw new Problem(409, `a task with slug ${creation.slug} exists`);
  }
  const { onboard_md, validator_benchmark_env, ...fields } = creation;
  const id = newId();
  const at = now(state);
  return state.tasks.insert({
    id,
    ...fields,
    task_state: 'live',
    is_active: true,
    onboard_path: `/api/v1/tasks/${id}/onboard.md`,
    created_at: at,
    updated_at: at,
    hidden: { onboard_md, validator_benchmark_env, best_submission_id: null },
  });
}

export function findTask(state: CoordinatorState, id: string): TaskRecord {
  const task = state.tasks.get(id);
  if (task === null) throw notFound('Task');
  return task;
}

/** A task that takes claims and submissions. Throws 409 for one that is paused or closed. */
export function findOpenTask(state: CoordinatorState, id: string): TaskRecord {
  const task = findTask(state, id);
  if (task.task_state !== 'live' || !task.is_active)
    throw new Problem(409, `task is ${task.task_state}`);
  return task;
}

/** `live ⇄ paused → closed`. Throws 409 for a closed task. */
export function moveTask(
  state: CoordinatorState,
  id: string,
  to: TaskRecord['task_state'],
): TaskRecord {
  const task = findTask(state, id);
  if (task.task_state === 'closed' && to !== 'closed') throw new Problem(409, 'task is closed');
  return state.tasks.replace({
    ...task,
    task_state: to,
    is_active: to === 'live',
    updated_at: now(state),
  });
}

/** What a validator needs to replay a submission; stored with it and never changed (protocol 4.2). */
export function toReplaySpec(task: TaskRecord, baseRef: string): ReplaySpec {
  return {
    repository: task.repository,
    base_ref: baseRef,
    base_commit_sha: /^[0-9a-f]{40}$/.test(baseRef) ? baseRef : null,
    setup_command: task.setup_command,
    benchmark_command: task.benchmark_command,
    result_path: task.result_path,
    allowed_patch_paths: task.allowed_patch_paths,
    max_patch_bytes: task.max_patch_bytes,
    metric_name: task.metric_name,
    metric_direction: task.metric_direction,
    ranking_mode: task.ranking_mode,
    secondary_metric_name: task.secondary_metric_name,
    secondary_metric_direction: task.secondary_metric_direction,
    validator_benchmark_env: task.hidden.validator_benchmark_env,
    time_budget_seconds: task.time_budget_seconds,
  };
}
