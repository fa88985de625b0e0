/** Until when a run may go on, as the server tells of it without a worker. */
import { formatDuration } from '../core/duration.js';
import { isJsonObject, type JsonObject } from '../core/json.js';

/** The deadline of a run by its memo, ISO 8601, UTC; null where it has none, or an older version has started it. */
export function deadlineOf(memo: unknown): string | null {
  const at = isJsonObject(memo) ? memo['deadline'] : null;
  return typeof at === 'string' && !Number.isNaN(Date.parse(at)) ? at : null;
}

/** For programs; `leftMs` is 0 when it is over, and null when the run has ended. */
export function deadlineToJson(at: string, isOpen: boolean, nowMs: number): JsonObject {
  return { at, leftMs: isOpen ? Math.max(0, Date.parse(at) - nowMs) : null };
}

/** For people, of a run that is open: `3h 20m left`. */
export function timeLeftWords(at: string, nowMs: number): string {
  const leftMs = Date.parse(at) - nowMs;
  return leftMs > 0 ? `${formatDuration(leftMs)} left` : 'it is over';
}
