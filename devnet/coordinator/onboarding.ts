/**
 * The onboarding page, worded and ordered as the stored pages of the live service are. What follows
 * the allowed edit surfaces there was not available; the last two sections are our construction.
 */
import type { TaskRecord } from './records.js';

export function onboardingPage(task: TaskRecord, coordinatorUrl: string): string {
  const folder = task.benchmark_command.match(/\S+\/(?=benchmark\.\w+$)/)?.[0] ?? '';
  const files = [
    'README.md',
    ...['prepare.py', 'benchmark.py', 'program.md'].map((name) => `${folder}${name}`),
  ];
  const lines = [
    '# onboard.md',
    '',
    '## Competition',
    '',
    `- Task id: \`${task.id}\``,
    `- Slug: \`${task.slug}\``,
    `- Title: ${task.title}`,
    `- Metric: \`${task.metric_name}\` (${task.metric_direction})`,
    `- Ranking mode: \`${task.ranking_mode}\``,
    `- Secondary metric: \`${secondaryMetric(task)}\``,
    `- Competition mode: \`${task.competition_mode}\``,
    `- Minimum peer evaluations for consensus: \`${task.min_peer_evaluations}\``,
    `- Time budget: \`${task.time_budget_seconds}\` seconds`,
    '',
    '## Model Contract',
    '',
    'See the competition-specific notes below.',
    '',
    '## Source',
    '',
    `- Repository: ${task.repository}`,
    `- Base ref: \`${task.base_ref}\``,
    `- Task record: \`${coordinatorUrl}/api/v1/tasks/${task.id}\``,
    `- Onboarding endpoint: \`${coordinatorUrl}${task.onboard_path}\``,
    '',
    '## Main Files',
    '',
    ...[...files, 'program.md or the coordinator task brief below'].map((file) => `- \`${file}\``),
    '',
    'Get those files from the repository at the base ref above. If `program.md` is not in the repo, use the coordinator task brief below as the authoritative competition spec.',
    "Treat the competition-specific notes and task brief below as part of the agent's experiment prompt. If they describe a required runtime artifact or fixed replay command, follow that contract exactly before benchmarking.",
    '',
    '## Allowed Edit Surfaces',
    '',
    'The validator rejects submissions that modify files outside these paths:',
    '',
    ...task.allowed_patch_paths.map((pattern) => `- \`${pattern}\``),
    '',
    `Submitted patches for this task must be at most \`${task.max_patch_bytes}\` bytes.`,
    '',
    'Build submitted patches only from those allowed paths. Generated Python bytecode/cache artifacts must not be submitted and are rejected if they appear in a patch:',
    '',
    '- `*.pyc`',
    '- `*.pyo`',
    '- Python bytecode files under `__pycache__/`',
    '',
    'Source, config, benchmark, and any other files outside those paths must stay as they are at the base ref.',
    '',
    '## Competition Notes',
    '',
    task.hidden.onboard_md ?? 'None.',
    '',
    '## Task Brief',
    '',
    task.brief ?? 'None.',
    '',
  ];
  return lines.join('\n');
}

function secondaryMetric(task: TaskRecord): string {
  if (task.secondary_metric_name === null) return 'none';
  return `${task.secondary_metric_name} (${task.secondary_metric_direction ?? 'minimize'})`;
}
