/** `adit plan --json`; the shape is public (docs/plan.md). */
import type { Json, JsonObject } from '../../core/json.js';
import type { Plan } from '../../core/plan.js';
import { timeKey, type ExpectedTime, type GpuHours, type PastTimes } from './expected-time.js';
import type { KnownValue } from './known-value.js';
import type { Past } from './past-times.js';
import { everyStep, isToRun, type PlannedStep } from './planned-step.js';

export interface PlannedRun {
  readonly plan: Plan;
  /** As it was named; null for a retry without one. */
  readonly file: string | null;
  readonly retry: {
    readonly runId: string;
    readonly roundId: string;
    /** Who told what the run has done. */
    readonly source: 'worker' | 'evidence';
    readonly remark: string | null;
  } | null;
  readonly taskQueue: string;
  readonly steps: readonly PlannedStep[];
  readonly past: Past;
  readonly time: ExpectedTime;
  readonly gpuHours: GpuHours;
  /** That effects are held, in words; null when they are not. */
  readonly hold: string | null;
}

/** Of those that would run: what changes something outside, and what asks people. */
export function effectsAndApprovals(steps: readonly PlannedStep[]): {
  readonly effects: readonly PlannedStep[];
  readonly approvals: readonly PlannedStep[];
} {
  const open = everyStep(steps).filter(isToRun);
  return {
    effects: open.filter(({ effect }) => effect),
    approvals: open.filter(({ uses }) => uses === 'approve'),
  };
}

export function toPlanJson(run: PlannedRun): JsonObject {
  const { plan, retry, past, time } = run;
  const { effects, approvals } = effectsAndApprovals(run.steps);
  return {
    pipeline: plan.pipeline,
    summary: plan.summary ?? '',
    file: run.file,
    sourceSha256: plan.sourceSha256,
    coordinator: plan.network.coordinator,
    taskQueue: run.taskQueue,
    inputs: plan.inputs,
    deadlineMs: plan.deadlineMs ?? null,
    retry: retry === null ? null : { ...retry },
    steps: run.steps.map((step) => stepJson(step, past.times)),
    effects: effects.map(({ path }) => path),
    approvals: approvals.map(({ path }) => path),
    time: {
      expectedMs: past.source === null ? null : time.ms,
      neverRan: past.source === null ? [] : [...time.neverRan],
      runs: past.runs,
      source: past.source,
      remark: past.remark,
    },
    gpuHours: { ...run.gpuHours },
    hold: run.hold,
  };
}

function stepJson(step: PlannedStep, past: PastTimes): JsonObject {
  const { expires, ...limits } = step.limits;
  const measured = past.get(timeKey(step));
  return {
    path: step.path,
    uses: step.uses,
    will: step.will,
    reason: step.reason === null ? null : { ...step.reason },
    condition: step.condition,
    times: step.times,
    reusedItems: step.reusedItems ?? 0,
    summary: step.summary === null ? null : valueJson(step.summary),
    with: Object.fromEntries(
      Object.entries(step.with).map(([name, value]) => [name, valueJson(value)]),
    ),
    queue: step.queue === null ? null : { ...step.queue },
    program: step.program,
    effect: step.effect,
    gpus: step.gpus,
    limits: { ...limits, ...(expires === undefined ? {} : { expires: valueJson(expires) }) },
    quorum: step.quorum ?? null,
    needs: [...(step.needs ?? [])],
    waitMs: step.waitMs ?? null,
    expected: measured === undefined ? null : { ms: measured.ms, count: measured.count },
    blocks: step.blocks.map(({ title, order, atOnce, steps }) => ({
      title,
      order,
      atOnce,
      steps: steps.map((one): Json => stepJson(one, past)),
    })),
  };
}

function valueJson(value: KnownValue): JsonObject {
  return value.known ? { value: value.value } : { text: value.text };
}
