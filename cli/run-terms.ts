import { parseDuration } from '../core/duration.js';
import { innerBlocks } from '../core/inner-blocks.js';
import type { Plan, PlanStep } from '../core/plan.js';
import { findStepPath, unknownStepReport } from '../core/plan-paths.js';
import { CliFailure, EXIT } from './failure.js';
import type { RunTerms } from './start-run.js';

/** `--until` and `--deadline` of a new run. Throws CliFailure USAGE. */
export function readRunTerms(
  options: { readonly until?: string; readonly deadline?: string },
  plan: Plan,
  nowMs: number,
): Pick<RunTerms, 'until' | 'deadlineMs'> {
  return {
    ...(options.until === undefined ? {} : { until: assertUntil(options.until, plan) }),
    ...(options.deadline === undefined
      ? {}
      : { deadlineMs: parseDeadline(options.deadline, nowMs) }),
  };
}

/** As assertStep; a run can end behind the step of one item only. */
function assertUntil(given: string, plan: Plan): string {
  const path = findStepPath(plan, assertStep(given, plan, '--until'));
  if (path?.includes('#*') !== true) return given;
  throw new CliFailure('USAGE', `--until: \`${given}\` is a step of every item, not of one.`, {
    hint: `Name the item, such as \`${path.replaceAll('#*', '#0')}\`.`,
    exitCode: EXIT.usage,
  });
}

/** The name of a step as given, when the plan has a step by this path or id. Throws CliFailure USAGE. */
export function assertStep(given: string, plan: Plan, option: string): string {
  if (findStepPath(plan, given) !== null) return given;
  const { message, hint } = unknownStepReport(plan, given);
  throw new CliFailure('USAGE', `${option}: ${message}`, {
    hint: hint ?? '',
    exitCode: EXIT.usage,
  });
}

/** Every step of a plan, blocks and called pipelines included, in document order; of items one for all. */
export function stepsOf(
  steps: readonly PlanStep[],
  prefix: string,
): { readonly path: string; readonly id?: string; readonly step: PlanStep }[] {
  return steps.flatMap((step) => {
    const path = `${prefix}${step.key}`;
    return [
      { path, ...(step.id === undefined ? {} : { id: step.id }), step },
      ...innerBlocks(step).flatMap(({ steps: inner, infix }) =>
        stepsOf(inner, `${path}${infix.replace('#*', '')}`),
      ),
      ...(step.kind === 'pipeline' ? stepsOf(step.called.steps, `${path}/`) : []),
    ];
  });
}

function parseDeadline(text: string, nowMs: number): number {
  const durationMs = parseDuration(text);
  if (durationMs !== null) return nowMs + durationMs;
  const isTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/.test(text);
  const ms = isTime ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) {
    throw new CliFailure('USAGE', `--deadline: "${text}" is neither a duration nor a time.`, {
      hint: 'A duration from now such as 8h or 1h30m, or a time with its zone such as 2026-11-22T06:00:00Z.',
      exitCode: EXIT.usage,
    });
  }
  if (ms <= nowMs) {
    throw new CliFailure('USAGE', `--deadline: ${text} is over.`, {
      hint: 'Name a time that is still to come.',
      exitCode: EXIT.usage,
    });
  }
  return ms;
}
