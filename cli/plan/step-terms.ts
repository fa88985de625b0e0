/** What a step of a plan says of itself: where it runs, with what, and within which limits. */
import { parseDuration } from '../../core/duration.js';
import { isJsonObject, type Json } from '../../core/json.js';
import type { ActivityStep, PlanStep } from '../../core/plan.js';
import type { Template } from '../../core/expression.js';
import { knownTemplate, type KnownFrame, type KnownValue } from './known-value.js';
import type { PlannedLimits, PlannedQueue, PlannedStep } from './planned-step.js';

type Terms = Pick<
  PlannedStep,
  'summary' | 'with' | 'queue' | 'program' | 'effect' | 'gpus' | 'limits' | 'quorum' | 'waitMs'
>;

export function termsOf(
  step: PlanStep,
  frame: KnownFrame,
  { taskQueue, nowMs }: { readonly taskQueue: string; readonly nowMs: number },
): Terms {
  const activity = step.kind === 'step' ? step : null;
  const summary = 'summary' in step ? step.summary : undefined;
  const waitMs = pauseMs(step, frame, nowMs);
  return {
    summary: summary === undefined ? null : knownTemplate(summary, frame),
    with: valuesOf(step, frame),
    queue: activity === null ? null : queueOf(activity, frame, taskQueue),
    program: activity?.program === true,
    effect: activity?.effect === true,
    gpus: activity?.options.gpus ?? 0,
    limits: limitsOf(step, frame),
    ...(step.kind === 'approve' ? { quorum: step.quorum } : {}),
    ...(waitMs === null ? {} : { waitMs }),
  };
}

/** Inputs that may be absent and are null are left out, as the interpreter does. */
function valuesOf(step: PlanStep, frame: KnownFrame): { [name: string]: KnownValue } {
  const written = templatesOf(step).map(
    ([name, template]) => [name, knownTemplate(template, frame)] as const,
  );
  const optional: readonly string[] = step.kind === 'step' ? step.optional : [];
  return Object.fromEntries(
    written.filter(
      ([name, value]) => !(value.known && value.value === null && optional.includes(name)),
    ),
  );
}

function templatesOf(step: PlanStep): ReadonlyArray<readonly [string, Template]> {
  switch (step.kind) {
    case 'step':
    case 'pipeline':
      return step.with;
    case 'approve':
      return step.show;
    case 'foreach':
      return [['items', { t: 'expr', expr: step.items }]];
    case 'stop':
      return [['reason', step.reason]];
    case 'wait':
      return [
        ...(step.for === undefined ? [] : [['for', step.for] as const]),
        ...(step.until === undefined ? [] : [['until', step.until] as const]),
      ];
    default:
      return [];
  }
}

function limitsOf(step: PlanStep, frame: KnownFrame): PlannedLimits {
  switch (step.kind) {
    case 'step': {
      const { timeoutMs, attemptTimeoutMs, heartbeatMs, retry } = step.options;
      return {
        timeoutMs,
        ...(attemptTimeoutMs === undefined ? {} : { attemptTimeoutMs }),
        ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
        attempts: retry.attempts,
      };
    }
    case 'repeat':
      return {
        iterations: step.limit,
        ...(step.everyMs === undefined ? {} : { everyMs: step.everyMs }),
      };
    case 'try':
      return step.finallyTimeoutMs === undefined ? {} : { finallyTimeoutMs: step.finallyTimeoutMs };
    case 'approve':
      return step.expires === undefined ? {} : { expires: knownTemplate(step.expires, frame) };
    default:
      return {};
  }
}

/** As the interpreter chooses it: the first Workspace that the input holds names the host. */
function queueOf(
  { host, with: given, program }: ActivityStep,
  frame: KnownFrame,
  taskQueue: string,
): PlannedQueue {
  const written = new Map(given);
  for (const [name = '', ...rest] of host) {
    const template = written.get(name);
    if (template === undefined) continue;
    const value = knownTemplate(template, frame);
    if (!value.known) {
      const of = [value.text.replace(/^\$\{\{ (.*) \}\}$/s, '$1'), ...rest].join('.');
      return { kind: 'workspace', name: null, of };
    }
    const queue = queueIn(value.value, rest);
    if (queue !== null) return { kind: 'workspace', name: queue, of: [name, ...rest].join('.') };
  }
  return program === true ? { kind: 'run' } : { kind: 'shared', name: taskQueue };
}

function queueIn(value: Json, path: readonly string[]): string | null {
  let inner: Json | undefined = value;
  for (const key of path) inner = isJsonObject(inner) ? inner[key] : undefined;
  return isJsonObject(inner) && typeof inner['queue'] === 'string' ? inner['queue'] : null;
}

/** A pause whose length is known; null for another. */
function pauseMs(step: PlanStep, frame: KnownFrame, nowMs: number): number | null {
  if (step.kind !== 'wait') return null;
  const template = step.for ?? step.until;
  const value = template === undefined ? null : knownTemplate(template, frame);
  if (value === null || !value.known || typeof value.value !== 'string') return null;
  if (step.for !== undefined) return parseDuration(value.value);
  const untilMs = Date.parse(value.value);
  return Number.isNaN(untilMs) ? null : Math.max(0, untilMs - nowMs);
}
