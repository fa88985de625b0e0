/** Work that a worker took and never ended: the notice of a hook, also while its target is down for long, and a step. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { tsToMs } from '@temporalio/common/lib/time.js';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import { createProcesses } from '../../adapters/processes/processes.js';
import { adit } from '../support/cli.js';
import { startProgram, type Program } from '../support/local-network.js';
import { planOf, stepMaker } from '../support/plan-makers.js';
import { createWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js';
import { openRuns, type Runs } from '../support/workflow-runs.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let folder: string;
let stateDir: string;
let env: NodeJS.ProcessEnv;
let receiver: WebhookReceiver;
let client: Client;
let runs: Runs;
const workers: Program[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-notices-'));
  stateDir = path.join(folder, 'state');
  const { address } = inject('temporal');
  client = new Client({ connection: await Connection.connect({ address }) });
  runs = await openRuns(address);
  receiver = await createWebhookReceiver();
  await receiver.open();
  env = {
    TEMPORAL_ADDRESS: address,
    ADIT_TASK_QUEUE: `notices-${process.pid}`,
    ADIT_NOTIFY_URL: receiver.url,
  };
});

afterAll(async () => {
  for (const worker of workers) await worker.end('SIGKILL');
  await receiver.close();
  if (workers.length > 0) {
    const processes = createProcesses({ stateDir, server: null, startHost: null });
    await processes.shutdownHost({ leavePrograms: false });
    processes.close();
  }
  await client.connection.close();
  await runs.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

async function startWorker(): Promise<Program> {
  const { PATH, HOME } = process.env;
  const worker = await startProgram('worker/main.js', [], {
    PATH,
    HOME,
    ADIT_STATE_DIR: stateDir,
    ...env,
  });
  workers.push(worker);
  return worker;
}

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await adit([...args, '--json'], { stateDir, env });
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** In tests beside each other `expect.poll` is not to be had. */
function eventually(check: () => unknown): Promise<void> {
  return vi.waitFor(async () => void (await check()), { timeout: 90_000, interval: 100 });
}

/** When the tries of a delivery are made that always fails at once, in milliseconds since the first; as the server has it. */
async function triesOf(notice: string): Promise<number[]> {
  const { events } = await client.workflow.getHandle(notice).fetchHistory();
  const scheduled = events?.find((event) => event.activityTaskScheduledEventAttributes);
  const { retryPolicy, scheduleToCloseTimeout } =
    scheduled?.activityTaskScheduledEventAttributes ?? {};
  expect(retryPolicy).toMatchObject({ maximumAttempts: 0 });
  const endMs = tsToMs(scheduleToCloseTimeout);
  const mostMs = tsToMs(retryPolicy?.maximumInterval);
  const tries: number[] = [];
  let pauseMs = tsToMs(retryPolicy?.initialInterval);
  for (let atMs = 0; atMs < endMs; atMs += pauseMs, pauseMs *= 2) {
    pauseMs = Math.min(pauseMs, mostMs);
    tries.push(atMs);
  }
  return tries;
}

test.concurrent(
  'an event is told again under its id when the worker died on the way, and when the target is back',
  async () => {
    const file = path.join(folder, 'asks.yaml');
    await writeFile(
      file,
      `pipeline: asks
notify: [approval, succeeded]
steps:
  - { id: go, approve: { summary: "Go on?", expires: 1h } }
`,
    );
    const killed = await startWorker();
    // The target takes the notice, and its answer does not come before the worker is gone.
    receiver.answer = null;
    const { runId } = (await json('run', file, '--detach')) as { runId: string };
    await eventually(() => expect(receiver.heard).toHaveLength(1));
    const [approval = ''] = receiver.heard;
    expect(approval).toMatch(new RegExp(`^${runId}/notify/approval/go/`));
    await killed.end('SIGKILL');

    // From here on it is down, as it may be for an hour; what it hears it does not take.
    receiver.answer = { status: 503 };
    await startWorker();
    // The server asks the worker that is gone first, for some seconds.
    await eventually(async () =>
      expect(await json('approve', runId)).toMatchObject({ approvals: [{ step: 'go' }] }),
    );
    expect(await json('approve', runId, 'go', '--approve')).toMatchObject({ approved: 1 });
    // Nobody has been told of anything: the run has ended all the same.
    expect(await json('watch', runId)).toMatchObject({ status: 'succeeded' });
    expect(receiver.received).toEqual([]);
    const heard = (): Set<string> => new Set(receiver.heard);
    await eventually(() => expect(heard().size).toBe(2));
    await eventually(() =>
      expect(receiver.heard.filter((id) => id === approval).length).toBeGreaterThanOrEqual(2),
    );
    const ids = [...heard()];
    for (const id of ids) {
      const tries = await triesOf(id);
      for (const downMs of [HOUR_MS, DAY_MS]) {
        const next = tries.find((atMs) => atMs >= downMs) ?? Number.POSITIVE_INFINITY;
        expect(next - downMs).toBeLessThanOrEqual(10 * 60_000);
      }
      expect(tries.at(-1)).toBeGreaterThan(2.9 * DAY_MS);
    }

    receiver.answer = { status: 204 };
    for (const id of ids)
      expect(await client.workflow.getHandle(id).result()).toMatchObject({ webhook: 'delivered' });
    expect(receiver.received.map(({ notice }) => notice.event).toSorted()).toEqual([
      'approval',
      'succeeded',
    ]);
    expect(receiver.received.map(({ notice }) => notice.id).toSorted()).toEqual(ids.toSorted());
  },
);

test.concurrent(
  'a step whose worker never got it, and that has no `heartbeat` of its own, goes to another worker',
  async () => {
    const queue = `q.host.lost-${process.pid}`;
    const step = stepMaker({
      timeoutMs: 120_000,
      retry: { attempts: 1, firstMs: 10, factor: 1, mostMs: 10, never: [] },
    });
    const workspace = { t: 'value', value: { queue } } as const;
    const plan = planOf(step('a', { with: [['workspace', workspace]], host: [['workspace']] }));
    await runs.withRun({ plan, behaviour: async () => ({}) }, async ({ handle }) => {
      // As a poll whose answer is lost: for the server the step has started.
      const { activityId } = await client.withDeadline(Date.now() + 60_000, () =>
        client.workflowService.pollActivityTaskQueue({
          namespace: client.options.namespace,
          taskQueue: { name: queue },
          identity: 'lost',
        }),
      );
      expect(activityId).toBe('a');
      await runs.withHost(queue, { 'test.step': async () => ({}) }, async () => {
        expect(await handle.result()).toMatchObject({ status: 'succeeded' });
      });
    });
  },
);
