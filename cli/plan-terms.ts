/** What a run is started with for the sake of its pipeline file, and of the settings of the command that starts it. */
import type { Settings } from '../adapters/settings/settings.js';
import { NOTICE_EVENTS, type Hook } from '../core/notice.js';
import type { Plan } from '../core/plan.js';
import type { RunArgs } from '../workflows/contract.js';

/**
 * The file chooses the events before the settings do. Nothing where neither says anything; a file that names events
 * where no hook is set leaves it to the worker which hooks there are.
 */
export function notifyTerms(
  { notify }: Pick<Plan, 'notify'>,
  settings: Pick<Settings, 'notifyUrl' | 'notifyCommand' | 'notifyEvents'>,
): Pick<RunArgs, 'notify'> {
  const hooks: Hook[] = [
    ...(settings.notifyUrl === null ? [] : (['webhook'] as const)),
    ...(settings.notifyCommand === null ? [] : (['command'] as const)),
  ];
  const events = notify ?? (hooks.length === 0 ? [] : (settings.notifyEvents ?? NOTICE_EVENTS));
  if (events.length === 0) return {};
  return { notify: { events, ...(hooks.length === 0 ? {} : { hooks }) } };
}

/** When a run of `plan` that starts now is over: as its command says, else as its file does. */
export function deadlineTerms(
  { deadlineMs: longestMs }: Pick<Plan, 'deadlineMs'>,
  { deadlineMs }: Pick<RunArgs, 'deadlineMs'>,
  nowMs: number,
): Pick<RunArgs, 'deadlineMs' | 'endsAtDeadline'> {
  const atMs = deadlineMs ?? (longestMs === undefined ? undefined : nowMs + longestMs);
  return atMs === undefined ? {} : { deadlineMs: atMs, endsAtDeadline: true };
}
