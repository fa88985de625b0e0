/**
 * Adit beside a workflow written by hand, on one server: chains of `true`, much output, memory.
 *
 * Pairs are interleaved, in turning order, so that what the machine does besides meets both alike; how far two runs by
 * hand that follow each other lie apart is the spread that a ratio may exceed its bar by. Both workers hold
 * ballast up to about 300 MB, which is what workers with real dependencies hold and what forking from them costs.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Plan } from '../../core/plan.js';
import { connectHost } from '../../host/client.js';
import { WORKFLOW_TYPE, type RunArgs } from '../../workflows/contract.js';
import { planOf } from '../support/fault-plan.js';
import { startProgram, type Program } from '../support/local-network.js';
import { until } from '../support/until.js';
import { processesNaming, shimsOf } from '../support/witness.js';
import { here, openContest, type Contest } from './contest.js';
import { comparePairs, PAIRS } from './pairs.js';
import { processorMs } from './processor-time.js';
import { addRow, median } from './report.js';
import { describeTimeline, readTimeline } from './timeline.js';
import { forgetPeak, peakBytes, proportionalBytes, residentBytes } from './resident.js';

const MB = 1_000_000;
const WORKER_BYTES = 300 * MB;
const BAR = 0.85;

let contest: Contest;
let adit: Program;
let byHand: Program;

beforeAll(async () => {
  contest = await openContest('bench', 'hand-written/workflow.mjs');
  const withBallast = (bytes: number): NodeJS.ProcessEnv => ({
    NODE_OPTIONS: `--require ${here('ballast.cjs')}`,
    ADIT_BENCH_BALLAST_BYTES: String(bytes),
    ADIT_BENCH_FOLDER: contest.folder,
  });
  const startAdit = (bytes: number): Promise<Program> => contest.startAdit(withBallast(bytes));
  const startByHand = (bytes: number): Promise<Program> => contest.startByHand(withBallast(bytes));
  // Each gets what it lacks of the 300 MB.
  const missing = async (start: (bytes: number) => Promise<Program>): Promise<number> => {
    const bare = await start(0);
    const resident = await residentBytes(bare.pid);
    await bare.end('SIGTERM');
    return Math.max(0, WORKER_BYTES - resident);
  };
  adit = await startAdit(await missing(startAdit));
  byHand = await startByHand(await missing(startByHand));
  addRow({
    what: 'workers, resident before the first run',
    measured: `Adit ${mb(await residentBytes(adit.pid))}, by hand ${mb(await residentBytes(byHand.pid))}`,
    values: { adit: await residentBytes(adit.pid), byHand: await residentBytes(byHand.pid) },
  });
  await mkdir(path.join(contest.folder, 'direct'));
});

afterAll(() => contest.end(adit, byHand));

function mb(bytes: number): string {
  return `${(bytes / MB).toFixed(1)} MB`;
}

function chainPlan(commands: readonly string[]): Plan {
  const steps = commands.map(
    (command, index) =>
      `  - { id: s${index}, uses: process.run, with: { command: ${JSON.stringify(command)} } }`,
  );
  return planOf(`pipeline: bench\nsteps:\n${steps.join('\n')}\n`);
}

async function timeAdit(
  plan: Plan,
): Promise<{ ms: number; events: number; handle: WorkflowHandle }> {
  const workflowId = `bench-${randomBytes(6).toString('hex')}`;
  const args: RunArgs = { plan, roundId: workflowId, searchAttributes: true };
  const startedAt = performance.now();
  const handle = await contest.client.workflow.start(WORKFLOW_TYPE, {
    taskQueue: contest.queues.adit,
    workflowId,
    args: [args],
  });
  expect(await handle.result()).toMatchObject({ status: 'succeeded' });
  const ms = performance.now() - startedAt;
  return { ms, events: (await handle.describe()).historyLength, handle };
}

async function timeByHand(
  commands: readonly string[],
): Promise<{ ms: number; handle: WorkflowHandle }> {
  const startedAt = performance.now();
  const handle = await contest.client.workflow.start('chain', {
    taskQueue: contest.queues.byHand,
    workflowId: `bench-${randomBytes(6).toString('hex')}`,
    args: [commands],
  });
  expect(await handle.result()).toBe(commands.length);
  return { ms: performance.now() - startedAt, handle };
}

for (const length of [50, 500]) {
  test(`a chain of ${length} steps that run true`, async () => {
    const commands = Array.from({ length }, () => 'true');
    const plan = chainPlan(commands);
    const {
      ratio,
      spread,
      ratios,
      adit: aditMs,
      byHand: byHandMs,
    } = await comparePairs(
      PAIRS,
      async () => (await timeAdit(plan)).ms,
      async () => (await timeByHand(commands)).ms,
    );
    const passed = ratio <= BAR + spread;
    addRow({
      what: `chain of ${length} steps that run true, ${PAIRS} pairs`,
      measured: `${ratio.toFixed(3)}x (Adit ${(median(aditMs) / length).toFixed(1)} ms a step, by hand ${(median(byHandMs) / length).toFixed(1)} ms; spread ${spread.toFixed(3)})`,
      bar: `${BAR}x + spread`,
      passed,
      values: { ratio, spread, ratios, aditMs, byHandMs },
    });
    const connection = await connectHost(contest.stateDir);
    connection?.close();
    const host = connection?.info.pid ?? 0;
    for (const [who, pids, run] of [
      ['Adit', [adit.pid, host], () => timeAdit(plan)],
      ['by hand', [byHand.pid], () => timeByHand(commands)],
    ] as const) {
      const used = async (): Promise<number> =>
        (await Promise.all(pids.map(processorMs))).reduce((sum, ms) => sum + ms, 0);
      const before = await used();
      const { handle } = await run();
      const processor = ((await used()) - before) / length;
      const timeline = await readTimeline(handle);
      addRow({
        what: `a step of the chain of ${length}, ${who}`,
        measured: `${describeTimeline(timeline)}; processor ${processor.toFixed(1)} ms (without the server)`,
        values: { ...timeline, processor },
      });
    }
    expect(passed).toBe(true);
  }, 1_800_000);
}

test('100 MB of output', async () => {
  const line = 'x'.repeat(99);
  const much = chainPlan([`yes ${line} | head -c 100000000`]);
  const little = chainPlan([`echo ${line}`]);
  await timeAdit(much);
  const { events } = await timeAdit(little);
  const times: number[] = [];
  const overBase: number[] = [];
  let eventsOfMuch = 0;
  for (let round = 0; round < 5; round += 1) {
    const base = await residentBytes(adit.pid);
    await forgetPeak(adit.pid);
    const run = await timeAdit(much);
    times.push(run.ms);
    eventsOfMuch = run.events;
    overBase.push((await peakBytes(adit.pid)) - base);
  }
  const ms = median(times);
  const most = Math.max(...overBase);
  const rows = [
    {
      what: '100 MB of output: time of the run',
      measured: `${(ms / 1_000).toFixed(2)} s`,
      bar: '3 s',
      passed: ms <= 3_000,
    },
    {
      what: '100 MB of output: worker over its base',
      measured: mb(most),
      bar: '80 MB',
      passed: most <= 80 * MB,
    },
    {
      what: '100 MB of output: history events (one line)',
      measured: `${eventsOfMuch} (${events})`,
      bar: 'equal',
      passed: eventsOfMuch === events,
    },
  ];
  for (const row of rows) addRow({ ...row, values: { times, overBase, events, eventsOfMuch } });
  expect(rows.map(({ what, passed }) => ({ what, passed }))).toEqual(
    rows.map(({ what }) => ({ what, passed: true })),
  );
}, 300_000);

test('memory of host and shims with 0, 1 and 100 programs', async () => {
  const stateDir = path.join(contest.folder, 'direct', 'state');
  const { PATH, HOME } = process.env;
  const host = await startProgram('host/main.js', ['--state-dir', stateDir], { PATH, HOME });
  const connection = await until(
    'the host',
    async () => (await connectHost(stateDir)) ?? undefined,
  );
  const marker = path.join(contest.folder, 'direct', 'sleeper');
  const stepPath = (index: number): string => `sleeper${index}`;
  const measure = async (count: number): Promise<{ host: number; shims: number }> => {
    await until(`${count} programs`, async () => {
      const { programs } = await connection.call('list', {});
      return programs.filter(({ state }) => state === 'running').length === count;
    });
    const pids = [...(await processesNaming(marker)), ...(await shimsOf(stateDir, marker))];
    const shares = await Promise.all(pids.map(proportionalBytes));
    return {
      host: await residentBytes(host.pid),
      shims: shares.reduce((sum, share) => sum + share, 0),
    };
  };
  const start = (index: number): void => {
    const following = connection.call('run', {
      place: { runId: 'bench', stepPath: stepPath(index), start: 1 },
      token: 1,
      mayStart: true,
      spec: {
        argv: ['/bin/sh', '-c', 'sleep 600; :', marker],
        env: { PATH: PATH ?? '' },
        server: null,
        limits: { stepMs: null, graceMs: 1_000, minFreeBytes: 0, outputBytes: MB },
      },
    });
    following.catch(() => {});
  };
  const none = await measure(0);
  start(0);
  const one = await measure(1);
  for (let index = 1; index < 100; index += 1) start(index);
  const hundred = await measure(100);
  await connection.call('endRun', { runId: 'bench', reason: 'killed' });
  connection.close();
  await host.end('SIGTERM');
  const growth = hundred.host - none.host;
  addRow({
    what: 'host, resident, with 0, 1 and 100 programs',
    measured: [none, one, hundred].map((each) => mb(each.host)).join(', '),
    bar: 'grows by 40 MB at most',
    passed: growth <= 40 * MB,
    values: { none: none.host, one: one.host, hundred: hundred.host },
  });
  addRow({
    what: 'shim and a sleeping program, share of each, with 1 and 100',
    measured: `${mb(one.shims)}, ${mb(hundred.shims / 100)}`,
    values: { one: one.shims, hundred: hundred.shims / 100 },
  });
  expect(growth).toBeLessThanOrEqual(40 * MB);
}, 300_000);
