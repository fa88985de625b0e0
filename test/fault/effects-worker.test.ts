/**
 * Effects with a real worker, a real server and the devnet: a worker that is frozen with its request under way, a
 * workflow that is reset to before the submission, and a later run of the round.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import type { Adapters } from '../../activities/adapters.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { createFolderStore } from '../../adapters/store/store.js';
import type { JsonObject } from '../../core/json.js';
import type { ActivityStep, Plan, PlanStep } from '../../core/plan.js';
import type { RunState } from '../../core/run-state.js';
import type { RunView } from '../../core/run-view.js';
import { WORKFLOW_TYPE, type RunArgs } from '../../workflows/contract.js';
import { makeWork } from '../support/coordinator-round.js';
import { demoPlan, startLocalNetwork, type LocalNetwork } from '../support/local-network.js';

const SUBMIT = 'POST /api/v1/submissions';
const CLAIMS = 'GET /api/v1/claims';
/** The devnet's window and ours, in seconds. */
const WINDOW_SECONDS = 4;

let folder: string;
let connection: Connection;
let network: LocalNetwork;
let plan: Plan;
let state: RunState;
let taskQueue: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-effects-'));
  taskQueue = `effects-${randomBytes(4).toString('hex')}`;
  const temporal = inject('temporal');
  connection = await Connection.connect({ address: temporal.address });
  network = await startLocalNetwork({ folder, temporal, taskQueue });
  network.env['ADIT_SIGNATURE_WINDOW_SECONDS'] = String(WINDOW_SECONDS);
  network.env['ADIT_COORDINATOR_LAG_SECONDS'] = '1';
  await network.admin('PUT', 'settings', { timestampWindowSeconds: WINDOW_SECONDS });
  ({ plan, state } = await atTheClaim());
});

afterEach(async () => {
  await network.stop();
  await connection.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

/** The shipped round where everything up to the claim has succeeded, and ends after what `finally` does. */
async function atTheClaim(): Promise<{ plan: Plan; state: RunState }> {
  const whole = await demoPlan(network);
  const [task] = await network.list('/api/v1/tasks');
  if (task === undefined) throw new Error('the devnet has no task');
  const adapters: Partial<Adapters> = {
    store: createFolderStore(path.join(folder, 'state', 'store')),
  };
  const work = await makeWork({ adapters: adapters as Adapters });
  const taskId = String(task['id']);
  const slug = String(task['slug']);
  const verdict = {
    ...work.verdict,
    taskId,
    statement: { summary: 'Better thresholds.', proposedIdea: 'An idea.' },
  };
  const outputs: { [key: string]: JsonObject } = JSON.parse(
    JSON.stringify({
      discover: { task: { ...work.task, id: taskId, slug, metricName: task['metric_name'] } },
      patch: { patch: work.patch },
      published: { artifact: work.artifact },
      verdict: {
        verdict: {
          ...verdict,
          metric: task['metric_name'],
          claimedMetrics: { [String(task['metric_name'])]: 254.69 },
        },
      },
    }),
  ) as { [key: string]: JsonObject };
  const at = whole.steps.findIndex(({ kind }) => kind === 'try');
  const steps: RunState['steps'] = Object.fromEntries(
    whole.steps.slice(0, at).map((step) => {
      const given = outputs[step.key];
      return [
        step.key,
        given === undefined
          ? { status: 'skipped', uses: step.kind, attempts: 0 }
          : { status: 'succeeded', uses: step.kind, attempts: 1, outputs: given },
      ];
    }),
  );
  return {
    plan: { ...whole, steps: impatient(whole.steps.slice(0, at + 1)), outputs: [] },
    state: { steps },
  };
}

/** The same steps, with lost workers noticed sooner. */
function impatient(steps: readonly PlanStep[]): PlanStep[] {
  const sooner = (step: ActivityStep): ActivityStep => ({
    ...step,
    options: { ...step.options, heartbeatMs: 3_000 },
  });
  return steps.map((step) => {
    if (step.kind === 'step') return sooner(step);
    if (step.kind !== 'try') return step;
    return { ...step, steps: impatient(step.steps), finally: impatient(step.finally) };
  });
}

async function start(roundId?: string): Promise<WorkflowHandle> {
  const runId = `effects-${randomBytes(6).toString('hex')}`;
  const args: RunArgs = { plan, roundId: roundId ?? runId, state, searchAttributes: true };
  return new Client({ connection }).workflow.start(WORKFLOW_TYPE, {
    taskQueue,
    workflowId: runId,
    args: [args],
  });
}

async function fired(): Promise<{ kinds: string[]; held: number }> {
  const told = (await network.admin('GET', 'faults/fired')) as {
    fired: { kind: string }[];
    held: number;
  };
  return { kinds: told.fired.map(({ kind }) => kind), held: told.held };
}

async function requests(route: string): Promise<{ requests: number; statuses: JsonObject }> {
  const { coordinator } = (await network.admin('GET', 'counters')) as {
    coordinator: { [route: string]: { requests: number; statuses: JsonObject } };
  };
  return coordinator[route] ?? { requests: 0, statuses: {} };
}

async function expectOne(): Promise<void> {
  expect(await network.list('/api/v1/submissions')).toHaveLength(1);
  const claims = await network.list('/api/v1/claims');
  expect(claims.map(({ status }) => status)).toEqual(['submitted']);
}

const viewOf = async (handle: WorkflowHandle): Promise<RunView> =>
  (await handle.result()) as RunView;

test('a worker that is frozen with its submission under way, and thaws beside another, submits once', async () => {
  const frozen = await network.startWorker();
  await network.admin('POST', 'faults', { route: SUBMIT, kind: 'hold' });
  const handle = await start();
  await expect.poll(async () => (await fired()).held).toBe(1);
  process.kill(frozen.pid, 'SIGSTOP');
  const other = await network.startWorker();
  // The other worker has looked, found nothing, and waits until the request can no longer arrive. The frozen one's
  // open polls take the next attempts for as long as the server keeps them: a minute.
  await expect
    .poll(async () => (await requests(CLAIMS)).requests, { timeout: 120_000 })
    .toBeGreaterThan(0);
  const view = await viewOf(handle);
  expect(view.error).toBeUndefined();
  expect(view.status).toBe('succeeded');
  await network.admin('POST', 'faults/release');
  process.kill(frozen.pid, 'SIGCONT');
  await expect.poll(async () => (await requests(SUBMIT)).statuses).toEqual({ 200: 1, 401: 1 });
  await frozen.end('SIGTERM');
  // Thawed, it may sign nothing more: the next try is the other worker's.
  expect((await requests(SUBMIT)).requests).toBe(2);
  expect((await fired()).kinds).toEqual(['hold']);
  await expectOne();
  await other.end('SIGTERM');
}, 300_000);

test('a workflow that is reset to before its submission looks it up', async () => {
  const worker = await network.startWorker();
  const handle = await start();
  expect(await viewOf(handle)).toMatchObject({ status: 'succeeded' });
  const { events } = await handle.fetchHistory();
  const submitted = (events ?? []).findIndex(
    (event) =>
      event.activityTaskScheduledEventAttributes?.activityType?.name === 'coordinator.submit',
  );
  const before = events
    ?.slice(0, submitted)
    .findLast((event) => event.workflowTaskCompletedEventAttributes);
  const described = await handle.describe();
  await connection.workflowService.resetWorkflowExecution({
    namespace: inject('temporal').namespace,
    workflowExecution: { workflowId: handle.workflowId, runId: described.runId },
    reason: 'a test',
    requestId: randomBytes(8).toString('hex'),
    workflowTaskFinishEventId: before?.eventId ?? null,
  });
  const again = new Client({ connection }).workflow.getHandle(handle.workflowId);
  expect((await again.describe()).runId).not.toBe(described.runId);
  expect(await viewOf(again)).toMatchObject({ status: 'succeeded' });
  expect((await requests(SUBMIT)).requests).toBe(1);
  const record = await createEvidence(path.join(folder, 'state')).readEffect(
    handle.workflowId,
    'submission/submit',
  );
  expect(record).toMatchObject({ tries: [{ outcome: 'done' }], probes: [{ result: 'found' }] });
  await expectOne();
  await worker.end('SIGTERM');
}, 180_000);

test.each<[string, JsonObject[]]>([
  [
    'one that submitted, and whose reply and looks were lost',
    [
      { route: SUBMIT, kind: 'drop_after' },
      { route: 'GET /api/v1/submissions', kind: 'status', statusCode: 404, times: 2 },
    ],
  ],
  ['one whose submission was refused', [{ route: SUBMIT, kind: 'status', statusCode: 422 }]],
])(
  'a later run of the round after %s submits at most once',
  async (_name, faults) => {
    for (const fault of faults) await network.admin('POST', 'faults', fault);
    // Nobody answers in this test: what asks a person ends the run.
    const worker = await network.startWorker();
    const handle = await start();
    const evidence = createEvidence(path.join(folder, 'state'));
    await expect
      .poll(async () => (await fired()).kinds.length)
      .toBe(faults.reduce((sum, { times = 1 }) => sum + Number(times), 0));
    await handle.cancel();
    await handle.result().catch(() => undefined);
    const second = await start(handle.workflowId);
    const view = await viewOf(second);
    expect(view.error).toBeUndefined();
    expect(view.status).toBe('succeeded');
    expect(await network.list('/api/v1/submissions')).toHaveLength(1);
    const claims = await network.list('/api/v1/claims');
    expect(claims.filter(({ status }) => status === 'active')).toEqual([]);
    expect((await evidence.readEffects(handle.workflowId)).length).toBeGreaterThanOrEqual(2);
    await worker.end('SIGTERM');
  },
  180_000,
);
