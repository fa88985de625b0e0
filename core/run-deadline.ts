import type { ErrorReport } from './error.js';

/** The error of a run that was cancelled by its deadline, `atMs` milliseconds since the epoch. */
export function deadlinePassed(atMs: number): ErrorReport {
  return {
    code: 'RUN_DEADLINE',
    message: `The run did not end by its deadline, ${toMoment(atMs)}; what was under way was cancelled.`,
    hint: 'Give the pipeline a longer `deadline`, or the run another by `--deadline`; a retry has the whole time once more.',
  };
}

/** ISO 8601, UTC; the number itself where no date can hold it. */
export function toMoment(ms: number): string {
  return Number.isFinite(new Date(ms).getTime()) ? new Date(ms).toISOString() : String(ms);
}
