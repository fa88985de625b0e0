/**
 * The engine itself beside workflows written by hand, on one tuned server: steps that do nothing, so that all that is
 * measured is what is around them.
 *
 * Adit's side is the shipped worker with step types added: each step goes through the boundary (input and output
 * checked, digest, evidence) and each run is started as `adit run` starts it and recorded when it ends. By hand it is a
 * worker with the same settings whose activities are the same functions, without any of that.
 */
import { randomBytes } from 'node:crypto';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { loadSettings, type Settings } from '../../adapters/settings/settings.js';
import { TUNING } from '../../adapters/temporal-server/start-server.js';
import { startExecution } from '../../cli/start-run.js';
import type { Plan } from '../../core/plan.js';
import type { RunState } from '../../core/run-state.js';
import type { RunView } from '../../core/run-view.js';
import {
  DECIDE_UPDATE,
  RUN_STATE_QUERY,
  type Decision,
  type DecisionResult,
  type RunArgs,
} from '../../workflows/contract.js';
import { planOf } from '../support/fault-plan.js';
import type { Program } from '../support/local-network.js';
import { until } from '../support/until.js';
import { here, openContest, type Contest } from './contest.js';
import { BENCH_STEPS } from './engine/steps.mjs';
import { comparePairs, PAIRS, type Comparison } from './pairs.js';
import { processorMs } from './processor-time.js';
import { addRow } from './report.js';
import { peakBytes, residentBytes } from './resident.js';
import { describeTimeline, readTimeline } from './timeline.js';

const STEP_BAR = 1.05;
const START_BAR = 1.15;
/**
 * Of both chains so many steps run first: a worker is not started for each run, and it takes Adit's two thousand steps
 * until what it runs is compiled (its threads beside the main one 1.6 ms a step at first, then 1.0; by hand 0.7).
 */
const WARM_UP_STEPS = 2_500;
const MB = 1_000_000;

let contest: Contest;
let client: Client;
let settings: Settings;
let adit: Program;
let byHand: Program;

beforeAll(async () => {
  contest = await openContest('engine', 'hand-written/engine-workflow.mjs');
  const { folder, stateDir, queues } = contest;
  client = contest.client;
  settings = loadSettings({ ADIT_STATE_DIR: stateDir, ADIT_TASK_QUEUE: queues.adit }, folder);
  const options = process.env['ADIT_BENCH_NODE_OPTIONS'];
  adit = await contest.startAdit({
    NODE_OPTIONS: `--import ${here('engine/preload.mjs')} ${options ?? ''}`,
  });
  byHand = await contest.startByHand({ NODE_OPTIONS: options });
  addRow({
    what: 'server',
    measured: `temporal server start-dev ${TUNING.join(' ')}`,
    values: {},
  });
});

afterAll(() => contest.end(adit, byHand));

/** A pipeline of these steps and outputs, each a line of YAML. */
function benchPlan(steps: readonly string[], outputs: readonly string[] = []): Plan {
  const lines = [
    'pipeline: bench',
    'steps:',
    ...steps.map((step) => `  - ${step}`),
    ...(outputs.length === 0 ? [] : ['outputs:', ...outputs.map((output) => `  ${output}`)]),
  ];
  return planOf(`${lines.join('\n')}\n`, { stepTypes: BENCH_STEPS });
}

/** Each step needs what the one before it returns. */
function chainPlan(length: number): Plan {
  const steps = Array.from({ length }, (_, index) => {
    const value = index === 0 ? '0' : `"\${{ steps.s${index - 1}.value }}"`;
    const uses = index === 0 ? 'bench.mark' : 'bench.noop';
    return `{ id: s${index}, uses: ${uses}, with: { value: ${value} } }`;
  });
  return benchPlan(steps, [`value: "\${{ steps.s${length - 1}.value }}"`]);
}

const newId = (): string => `bench-${randomBytes(6).toString('hex')}`;

/** The id of a run whose evidence folder has its plan, as it has before `adit run` makes the call that starts a run. */
async function prepareAdit(plan: Plan): Promise<string> {
  const runId = newId();
  await createEvidence(settings.stateDir).writePlan(runId, plan);
  return runId;
}

async function startAdit(
  runId: string,
  plan: Plan,
  args: Partial<RunArgs> = {},
): Promise<WorkflowHandle> {
  await startExecution({ client, settings }, runId, {
    plan,
    roundId: runId,
    searchAttributes: true,
    ...args,
  });
  return client.workflow.getHandle(runId);
}

function startByHand(workflow: string, ...args: unknown[]): Promise<WorkflowHandle> {
  return client.workflow.start(workflow, {
    taskQueue: contest.queues.byHand,
    workflowId: newId(),
    args,
  });
}

interface Run {
  readonly ms: number;
  readonly startedAtMs: number;
  readonly handle: WorkflowHandle;
}

async function runAdit(plan: Plan): Promise<Run & { readonly view: RunView }> {
  const runId = await prepareAdit(plan);
  const startedAtMs = performance.now();
  const handle = await startAdit(runId, plan);
  const view = (await handle.result()) as RunView;
  const ms = performance.now() - startedAtMs;
  expect(view).toMatchObject({ status: 'succeeded' });
  return { ms, startedAtMs, handle, view };
}

async function runByHand(
  workflow: string,
  ...args: unknown[]
): Promise<Run & { readonly result: unknown }> {
  const startedAtMs = performance.now();
  const handle = await startByHand(workflow, ...args);
  const result = (await handle.result()) as unknown;
  return { ms: performance.now() - startedAtMs, startedAtMs, handle, result };
}

function addRatio(what: string, { ratio, spread, ...times }: Comparison, bar: number): boolean {
  const passed = ratio <= bar + spread;
  const typical = (values: readonly number[]): string =>
    (values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0).toFixed(1);
  addRow({
    what: `${what}, ${times.adit.length} pairs`,
    measured: `${ratio.toFixed(3)}x (Adit ${typical(times.adit)} ms, by hand ${typical(times.byHand)} ms; spread ${spread.toFixed(3)})`,
    bar: `${bar}x + spread`,
    passed,
    values: { ratio, spread, ...times },
  });
  return passed;
}

const sizes: { length: number; events: number; bytes: number }[] = [];

for (const length of [50, 500]) {
  test(`a chain of ${length} steps that do nothing`, async () => {
    const plan = chainPlan(length);
    const compared = await comparePairs(
      // The shorter a run, the more its time varies.
      length < 100 ? 3 * PAIRS : PAIRS,
      async () => {
        const { ms, view } = await runAdit(plan);
        expect(view.outputs['value']).toBe(length);
        return ms / length;
      },
      async () => {
        const { ms, result } = await runByHand('chain', length);
        expect(result).toMatchObject({ value: length });
        return ms / length;
      },
      { warmUps: WARM_UP_STEPS / length },
    );
    const passed = addRatio(`a step of a chain of ${length} that does nothing`, compared, STEP_BAR);
    for (const [who, { pid }, run] of [
      ['Adit', adit, () => runAdit(plan)],
      ['by hand', byHand, () => runByHand('chain', length)],
    ] as const) {
      const before = await processorMs(pid);
      const { handle } = await run();
      const processor = ((await processorMs(pid)) - before) / length;
      const timeline = await readTimeline(handle);
      const { historyLength, historySize = 0 } = await handle.describe();
      if (who === 'Adit') sizes.push({ length, events: historyLength, bytes: historySize });
      addRow({
        what: `a step of the chain of ${length}, ${who}`,
        measured: `${describeTimeline(timeline)}; processor ${processor.toFixed(2)} ms (without the server); history ${(historyLength / length).toFixed(2)} events, ${(historySize / length).toFixed(0)} bytes`,
        values: { ...timeline, processor, historyLength, historySize },
      });
    }
    expect(passed).toBe(true);
  }, 1_800_000);
}

test('the history of a step does not grow with the number of steps', () => {
  const [short, long] = sizes;
  const growth = (of: 'events' | 'bytes'): number =>
    (long?.[of] ?? Number.NaN) / (long?.length ?? 0) / ((short?.[of] ?? 0) / (short?.length ?? 0));
  const measured = { events: growth('events'), bytes: growth('bytes') };
  const passed = measured.events <= 1.02 && measured.bytes <= 1.05;
  addRow({
    what: 'history of a step in a chain of 500, as a multiple of that in one of 50',
    measured: `events ${measured.events.toFixed(3)}x, bytes ${measured.bytes.toFixed(3)}x`,
    bar: '1.02x, 1.05x',
    passed,
    values: measured,
  });
  expect(passed).toBe(true);
});

test('foreach of 200 items of 100 ms, limit 8', async () => {
  const items = Array.from({ length: 200 }, (_, index) => index);
  const plan = benchPlan(
    [
      `{ id: each, foreach: "[${items.join(', ')}]", as: item, limit: 8, collect: steps.paused.running, steps: [{ id: paused, uses: bench.pause, with: { value: "\${{ item }}" } }] }`,
    ],
    ['running: "${{ steps.each.results }}"'],
  );
  let most = 0;
  const compared = await comparePairs(
    PAIRS,
    async () => {
      const { ms, view } = await runAdit(plan);
      const running = view.outputs['running'] as number[];
      expect(running).toHaveLength(items.length);
      most = Math.max(most, ...running);
      return ms;
    },
    async () => {
      const { ms, result } = await runByHand('fanOut', items, 8);
      expect(result).toHaveLength(items.length);
      return ms;
    },
  );
  const passed = addRatio('foreach of 200 items of 100 ms, limit 8', compared, STEP_BAR);
  addRow({
    what: 'foreach: most items that ran at one time, counted in the step',
    measured: String(most),
    bar: '8',
    passed: most <= 8,
    values: { most },
  });
  expect(most).toBeLessThanOrEqual(8);
  expect(passed).toBe(true);
}, 1_800_000);

test('from the submission to the first step of 50', async () => {
  const plan = chainPlan(50);
  const compared = await comparePairs(
    3 * PAIRS,
    async () => {
      const runId = await prepareAdit(plan);
      const submitted = process.hrtime.bigint();
      const handle = await startAdit(runId, plan, { until: 's0' });
      expect(await handle.result()).toMatchObject({ status: 'stopped' });
      const { steps } = await handle.query<RunState>(RUN_STATE_QUERY);
      return sinceMs(submitted, steps['s0']?.outputs?.['startedAt']);
    },
    async () => {
      const submitted = process.hrtime.bigint();
      const { result } = await runByHand('chain', 1);
      return sinceMs(submitted, (result as { startedAt: string }).startedAt);
    },
  );
  const passed = addRatio('from the submission to the first step of 50', compared, START_BAR);
  expect(passed).toBe(true);
}, 600_000);

/** Both times are of the clock that all processes of a machine share. */
function sinceMs(submitted: bigint, startedAt: unknown): number {
  return Number(BigInt(String(startedAt)) - submitted) / 1e6;
}

test('1,000 parked runs in one worker', async () => {
  const plan = benchPlan(
    ['{ id: asked, uses: bench.ask, with: { value: 7 }, on_failure: ask, retry: { attempts: 1 } }'],
    ['value: "${{ steps.asked.value }}"'],
  );
  const before = await residentBytes(adit.pid);
  const handles: WorkflowHandle[] = [];
  while (handles.length < 1_000)
    handles.push(
      ...(await Promise.all(
        Array.from({ length: 20 }, async () => startAdit(await prepareAdit(plan), plan)),
      )),
    );
  for (const handle of handles) await until('a parked run', () => isParked(handle));
  const resident = await residentBytes(adit.pid);
  const peak = await peakBytes(adit.pid);
  const first = handles[0] as WorkflowHandle;
  const decision: Decision = { id: newId(), step: 'asked', action: 'retry', by: 'bench' };
  const decidedAtMs = performance.now();
  await first.executeUpdate<DecisionResult, [Decision]>(DECIDE_UPDATE, { args: [decision] });
  expect(await first.result()).toMatchObject({ status: 'succeeded', outputs: { value: 7 } });
  const decisionMs = performance.now() - decidedAtMs;
  const passed = peak <= 1_000 * MB;
  addRow({
    what: '1,000 parked runs in one worker, of which it caches 200: resident, at most and after',
    measured: `${mb(peak)}, ${mb(resident)} (before them ${mb(before)}); a decision for one that it no longer caches, to the end of its run: ${decisionMs.toFixed(0)} ms`,
    bar: '1000 MB',
    passed,
    values: { before, resident, peak, decisionMs },
  });
  await Promise.all(handles.slice(1).map((handle) => handle.terminate()));
  expect(passed).toBe(true);
}, 600_000);

/** Its step has failed, and nothing is under way. */
async function isParked(handle: WorkflowHandle): Promise<boolean> {
  const { raw, historyLength } = await handle.describe();
  return (
    historyLength > 5 && raw.pendingWorkflowTask === null && raw.pendingActivities?.length === 0
  );
}

function mb(bytes: number): string {
  return `${(bytes / MB).toFixed(0)} MB`;
}
