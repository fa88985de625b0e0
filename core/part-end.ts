import type { RunResult } from './run-state.js';
import { StepEnd } from './step-end.js';

/** The end of a step whose part of the run did not succeed. */
export function endOfPart(path: string, { status, error }: RunResult): StepEnd {
  if (status === 'failed' || status === 'stopped') {
    const report = error ?? { code: 'INTERNAL', message: `${path} ended as ${status}.` };
    return new StepEnd(report, status);
  }
  return new StepEnd(
    {
      code: 'PIPELINE_CANCELLED',
      message: `Somebody cancelled the workflow of ${path}, and not the run.`,
      hint: 'To go on, retry the run.',
      step: path,
    },
    'stopped',
  );
}
