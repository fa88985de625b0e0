import { formatDuration } from '../core/duration.js';
import type { ProgramListing } from '../core/host-protocol.js';
import type { JsonObject } from '../core/json.js';
import { clean } from './output.js';
import { statusWords } from './status-words.js';

/** One program as `adit ps --json` prints it; the shape is public (docs/cli.md). */
export function programToJson(program: ProgramListing): JsonObject {
  const { runId, stepPath, start, state, pid, startedAtMs, endsAtMs, devices, waitingFor } =
    program;
  return {
    runId,
    step: stepPath,
    start,
    state,
    pid,
    startedAt: toTime(startedAtMs),
    endsAt: toTime(endsAtMs),
    devices: [...devices],
    waitingFor: waitingFor ?? null,
    status: program.status,
    log: program.files.log,
  };
}

/** What a program does, for people, on one line. */
export function programWords(program: ProgramListing, nowMs: number): string {
  const { state, pid, startedAtMs, endsAtMs, devices, waitingFor, start, status } = program;
  if (state === 'waiting')
    return `waits${waitingFor === undefined ? '' : ` for ${clean(waitingFor, 160)}`}`;
  const told = statusWords(status);
  return [
    state === 'ending' ? 'is being ended' : '',
    pid === null ? '' : `process ${pid}`,
    start > 1 ? `start ${start}` : '',
    startedAtMs === null ? '' : `since ${formatDuration(Math.max(0, nowMs - startedAtMs))}`,
    endsAtMs === null ? '' : `at most ${formatDuration(Math.max(0, endsAtMs - nowMs))} more`,
    devices.length === 0 ? '' : `on ${devices.map((id) => `device ${clean(id, 60)}`).join(', ')}`,
    told,
  ]
    .filter((word) => word !== '')
    .join(', ');
}

function toTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
