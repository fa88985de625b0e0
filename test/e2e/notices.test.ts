/** Hooks told by a real worker: one that is killed on the way, and a target that is down for long. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { tsToMs } from '@temporalio/common/lib/time.js';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createProcesses } from '../../adapters/processes/processes.js';
import { adit } from '../support/cli.js';
import { startProgram, type Program } from '../support/local-network.js';
import { createWebhookReceiver, type WebhookReceiver } from '../support/webhook-receiver.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let folder: string;
let stateDir: string;
let env: NodeJS.ProcessEnv;
let receiver: WebhookReceiver;
let client: Client;
const workers: Program[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-notices-'));
  stateDir = path.join(folder, 'state');
  const { address } = inject('temporal');
  client = new Client({ connection: await Connection.connect({ address }) });
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
  const processes = createProcesses({ stateDir, server: null, startHost: null });
  await processes.shutdownHost({ leavePrograms: false });
  processes.close();
  await client.connection.close();
  await rm(folder, { recursive: true, force: true });
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

test('an event is told again under its id when the worker died on the way, and when the target is back', async () => {
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
  await expect.poll(() => receiver.heard.length, { timeout: 60_000 }).toBe(1);
  const [approval = ''] = receiver.heard;
  expect(approval).toMatch(new RegExp(`^${runId}/notify/approval/go/`));
  await killed.end('SIGKILL');

  // From here on it is down, as it may be for an hour; what it hears it does not take.
  receiver.answer = { status: 503 };
  await startWorker();
  // The server asks the worker that is gone first, for some seconds.
  await expect
    .poll(() => json('approve', runId), { timeout: 60_000 })
    .toMatchObject({ approvals: [{ step: 'go' }] });
  expect(await json('approve', runId, 'go', '--approve')).toMatchObject({ approved: 1 });
  // Nobody has been told of anything: the run has ended all the same.
  expect(await json('watch', runId)).toMatchObject({ status: 'succeeded' });
  expect(receiver.received).toEqual([]);
  const heard = (): Set<string> => new Set(receiver.heard);
  await expect.poll(() => heard().size, { timeout: 60_000 }).toBe(2);
  await expect
    .poll(() => receiver.heard.filter((id) => id === approval).length, { timeout: 60_000 })
    .toBeGreaterThanOrEqual(2);
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
});
