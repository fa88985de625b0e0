import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import type { Plan, PlanStep } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import { STATE_QUERY, WORKFLOW_TYPE, type RunArgs } from '../../workflows/contract.js';
import { demoPlan, startLocalNetwork, type LocalNetwork } from '../support/local-network.js';

let folder: string;
let connection: Connection;
let network: LocalNetwork;
const taskQueue = `fault-${randomBytes(4).toString('hex')}`;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-fault-'));
  const temporal = inject('temporal');
  connection = await Connection.connect({ address: temporal.address });
  network = await startLocalNetwork({ folder, temporal, taskQueue });
});

afterEach(async () => {
  await network.stop();
  await connection.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

async function start(plan: Plan): Promise<WorkflowHandle> {
  const runId = `fault-${randomBytes(6).toString('hex')}`;
  const args: RunArgs = { plan, roundId: runId, searchAttributes: true };
  return new Client({ connection }).workflow.start(WORKFLOW_TYPE, {
    taskQueue,
    workflowId: runId,
    args: [args],
  });
}

/** The same steps, with lost workers noticed sooner, so that a test with many of them ends. */
function impatient(steps: readonly PlanStep[]): PlanStep[] {
  return steps.map((step) => {
    switch (step.kind) {
      case 'step':
        return { ...step, options: { ...step.options, heartbeatMs: 3_000 } };
      case 'foreach':
      case 'repeat':
        return { ...step, steps: impatient(step.steps) };
      case 'try':
        return { ...step, steps: impatient(step.steps), finally: impatient(step.finally) };
      case 'if':
        return { ...step, then: impatient(step.then), else: impatient(step.else) };
      case 'parallel':
      case 'approve':
      case 'wait':
      case 'stop':
      case 'pipeline':
        // The shipped round has none with steps in it.
        return step;
    }
  });
}

async function expectOneOfEach(): Promise<void> {
  const submissions = await network.list('/api/v1/submissions');
  expect(submissions.map(({ status }) => status)).toEqual(['accepted']);
  const claims = await network.list('/api/v1/claims');
  expect(claims.map(({ status }) => status)).toEqual(['submitted']);
}

/** Paths of the steps that have succeeded so far. */
async function succeededSteps(runId: string): Promise<string[]> {
  const records = await createEvidence(path.join(folder, 'state')).readSteps(runId);
  return records
    .filter(({ status }) => status === 'succeeded')
    .map((record) => String(record['path']));
}

test('a worker that is killed after every single step finishes the round with one claim and one submission', async () => {
  const plan = await demoPlan(network);
  let worker = await network.startWorker();
  const handle = await start({ ...plan, steps: impatient(plan.steps) });
  const result = handle.result() as Promise<RunView>;
  let ended = false;
  const over = (): void => {
    ended = true;
  };
  result.then(over, over);
  const survived = new Set<string>();
  let kills = 0;
  while (!ended) {
    const fresh = (await succeededSteps(handle.workflowId)).filter((at) => !survived.has(at));
    if (fresh.length > 0) {
      for (const at of fresh) survived.add(at);
      kills += 1;
      await worker.end('SIGKILL');
      worker = await network.startWorker();
    }
    await sleep(20);
  }
  const view = await result;
  expect(view.error).toBeUndefined();
  expect(view.status).toBe('succeeded');
  const steps = view.steps.filter(
    ({ uses, status }) => uses.includes('.') && status === 'succeeded',
  );
  expect([...survived].toSorted()).toEqual(steps.map(({ path: at }) => at).toSorted());
  expect(steps.map(({ attempts }) => attempts)).toEqual(steps.map(() => 1));
  expect(kills).toBeGreaterThan(15);
  await expectOneOfEach();
}, 900_000);

test('a validator that is away in mid-round only delays it', async () => {
  const worker = await network.startWorker();
  process.kill(network.validatorPid, 'SIGSTOP');
  const handle = await start(await demoPlan(network));
  const looks = async (): Promise<number> => {
    const counters = (await network.admin('GET', 'counters')) as {
      coordinator: { [route: string]: { requests: number } };
    };
    return counters.coordinator['GET /api/v1/submissions/:id']?.requests ?? 0;
  };
  await expect
    .poll(() => network.list('/api/v1/submissions'), { timeout: 120_000 })
    .toHaveLength(1);
  await expect.poll(looks).toBeGreaterThan(3);
  const waiting = await handle.query<RunView>(STATE_QUERY);
  expect(waiting.steps.find(({ path: at }) => at === 'acceptance')).toMatchObject({
    status: 'running',
    attempts: 1,
  });
  process.kill(network.validatorPid, 'SIGCONT');
  expect(await handle.result()).toMatchObject({ status: 'succeeded' });
  await expectOneOfEach();
  await worker.end('SIGTERM');
}, 300_000);
