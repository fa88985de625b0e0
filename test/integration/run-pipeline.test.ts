import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { Client, Connection, WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { z } from 'zod';
import type { Adapters } from '../../activities/adapters.js';
import { createActivities, createRecordActivity } from '../../activities/boundary.js';
import { defineStep, type StepContext, type StepType } from '../../activities/step-type.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { NotYet, StepError } from '../../core/error.js';
import type { ActivityStep, Plan, PlanStep, StepOptions } from '../../core/plan.js';
import type { RunView } from '../../core/run-view.js';
import {
  RECORD_ACTIVITY,
  STATE_QUERY,
  WORKFLOW_TYPE,
  type RunArgs,
} from '../../workflows/contract.js';
import { PACKAGE_ROOT } from '../support/local-network.js';
import { bundleOfWorkingTree } from '../support/workflow-bundle.js';

const OPTIONS: StepOptions = {
  timeoutMs: 60_000,
  heartbeatMs: 10_000,
  retry: { attempts: 3, firstMs: 10, factor: 1, mostMs: 10, never: [] },
};

let connection: Connection;
let native: NativeConnection;
let bundle: WorkflowBundleWithSourceMap;
let folder: string;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const { address } = inject('temporal');
  connection = await Connection.connect({ address });
  native = await NativeConnection.connect({ address });
  bundle = await bundleOfWorkingTree();
  folder = await mkdtemp(path.join(tmpdir(), 'adit-run-'));
});

afterAll(async () => {
  await connection.close();
  await native.close();
  await rm(folder, { recursive: true, force: true });
});

type Behaviour = (
  input: { [key: string]: unknown },
  context: StepContext,
) => Promise<{ [key: string]: unknown }>;

function stepTypeOf(behaviour: Behaviour): StepType {
  return defineStep({
    name: 'test.step',
    summary: 'Does what the test says.',
    input: z.looseObject({}),
    output: z.looseObject({}),
    defaults: { timeout: '1m' },
    errors: [],
    example: '- uses: test.step',
    run: behaviour,
  });
}

function step(id: string, overrides: Partial<ActivityStep> = {}): ActivityStep {
  return {
    kind: 'step',
    id,
    key: id,
    uses: 'test.step',
    with: [],
    optional: [],
    host: [],
    options: OPTIONS,
    ...overrides,
  };
}

function planOf(...steps: PlanStep[]): Plan {
  return {
    irVersion: 1,
    pipeline: 'test',
    sourceSha256: '0'.repeat(64),
    network: { coordinator: '', hotkey: '' },
    inputs: {},
    steps,
    outputs: [],
  };
}

/** Starts a plan with a worker of its own that keeps (or does not keep) workflows in its cache. */
async function withRun(
  plan: Plan,
  behaviour: Behaviour,
  body: (handle: WorkflowHandle, client: Client) => Promise<void>,
  maxCachedWorkflows = 10,
): Promise<void> {
  const taskQueue = `test-${randomBytes(4).toString('hex')}`;
  const evidence = createEvidence(folder);
  const adapters = { evidence } as Adapters;
  const worker = await Worker.create({
    connection: native,
    taskQueue,
    workflowBundle: { code: bundle.code },
    activities: {
      ...createActivities([stepTypeOf(behaviour)], adapters),
      [RECORD_ACTIVITY]: createRecordActivity(adapters),
    },
    maxCachedWorkflows,
    maxHeartbeatThrottleInterval: '1s',
    shutdownGraceTime: 0,
  });
  const client = new Client({ connection });
  const runId = `test-${randomBytes(6).toString('hex')}`;
  await worker.runUntil(async () => {
    const args: RunArgs = { plan, roundId: runId, searchAttributes: true };
    const handle = await client.workflow.start(WORKFLOW_TYPE, {
      taskQueue,
      workflowId: runId,
      args: [args],
    });
    await body(handle, client);
    await recordHistory(handle);
  });
}

/** With ADIT_RECORD_HISTORIES set, keeps the history of each case for the replay tests. */
async function recordHistory(handle: WorkflowHandle): Promise<void> {
  const target = process.env['ADIT_RECORD_HISTORIES'];
  if (target === undefined) return;
  const name = expect.getState().currentTestName?.split(' > ').at(-1) ?? handle.workflowId;
  const slug = name
    .replace(/[^A-Za-z]+/g, '-')
    .toLowerCase()
    .slice(0, 60);
  const text = historyToJSON(await handle.fetchHistory());
  // Stack traces name the folder of this checkout, which is nobody else's.
  await writeFile(
    path.join(target, `run-pipeline.v1.${slug}.json`),
    text.replaceAll(PACKAGE_ROOT, '/adit/'),
  );
}

const activityIds = async (handle: WorkflowHandle): Promise<string[]> => {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap(
    (event) => event.activityTaskScheduledEventAttributes?.activityId ?? [],
  );
};

describe.each([
  ['with cached workflows', 10],
  ['with every task replayed', 0],
])('a run on a real server, %s', (_name, cache) => {
  test('runs its steps, answers the state query and leaves evidence', async () => {
    const plan = planOf(step('a'), {
      kind: 'foreach',
      id: 'each',
      key: 'each',
      items: { op: 'lit', value: ['x', 'y'] },
      as: 'item',
      limit: 2,
      fail: 'fast',
      collect: { op: 'name', name: 'item' },
      steps: [
        step('work', { with: [['item', { t: 'expr', expr: { op: 'name', name: 'item' } }]] }),
      ],
    });
    await withRun(
      plan,
      async (input) => ({ seen: input['item'] ?? null }),
      async (handle) => {
        const view = (await handle.result()) as RunView;
        expect(view.status).toBe('succeeded');
        expect(view.steps.map(({ path: at, status }) => `${at} ${status}`)).toEqual([
          'a succeeded',
          'each succeeded',
          'each#0 succeeded',
          'each#0/work succeeded',
          'each#1 succeeded',
          'each#1/work succeeded',
        ]);
        expect(await handle.query(STATE_QUERY)).toEqual(view);
        const { typedSearchAttributes } = await handle.describe();
        const attributes = typedSearchAttributes
          .getAll()
          .map(({ key, value }) => `${key.name}=${String(value)}`);
        expect(attributes).toEqual(
          expect.arrayContaining(['AditStage=succeeded', 'AditVerdict=succeeded']),
        );
        const record = JSON.parse(
          await readFile(path.join(folder, 'runs', handle.workflowId, 'run.json'), 'utf8'),
        ) as unknown;
        expect(record).toEqual(view);
      },
      cache,
    );
  });

  test('tries a retryable error again under a new activity id, and counts it', async () => {
    let calls = 0;
    const behaviour: Behaviour = async () => {
      calls += 1;
      if (calls < 3) throw new StepError('COORDINATOR_UNAVAILABLE', 'nobody answers');
      return {};
    };
    await withRun(
      planOf(step('a')),
      behaviour,
      async (handle) => {
        const view = (await handle.result()) as RunView;
        expect(view.steps[0]).toMatchObject({ status: 'succeeded', attempts: 3 });
        expect(await activityIds(handle)).toEqual(['a', 'a~2', 'a~3', expect.any(String)]);
      },
      cache,
    );
  });

  test('fails with code, message, hint and step', async () => {
    const behaviour: Behaviour = async () => {
      throw new StepError('PATCH_EMPTY', 'nothing changed', { hint: 'change something' });
    };
    await withRun(
      planOf(step('a'), step('b')),
      behaviour,
      async (handle) => {
        const error = await handle.result().then(
          () => null,
          (reason: unknown) => reason,
        );
        expect(error).toBeInstanceOf(WorkflowFailedError);
        expect((error as WorkflowFailedError).cause).toMatchObject({
          type: 'PATCH_EMPTY',
          details: [
            {
              status: 'failed',
              error: {
                code: 'PATCH_EMPTY',
                message: 'nothing changed',
                hint: 'change something',
                step: 'a',
              },
            },
          ],
        });
      },
      cache,
    );
  });

  test('completes as stopped when the code is a decision', async () => {
    const behaviour: Behaviour = async () => {
      throw new StepError('TASK_NOT_LIVE', 'paused');
    };
    await withRun(
      planOf(step('a')),
      behaviour,
      async (handle) => {
        expect(await handle.result()).toMatchObject({
          status: 'stopped',
          error: { code: 'TASK_NOT_LIVE' },
        });
      },
      cache,
    );
  });

  test('walks conditions, branches, try and stop as they nest', async () => {
    const no = { op: 'lit', value: false } as const;
    const plan = planOf(
      step('skipped', { if: no }),
      { kind: 'if', key: '[1]', test: no, then: [step('then')], else: [step('otherwise')] },
      { kind: 'try', key: '[2]', steps: [step('body')], finally: [step('clean')] },
      { kind: 'stop', key: '[3]', reason: { t: 'value', value: 'enough' } },
      step('never'),
    );
    await withRun(
      plan,
      async () => ({}),
      async (handle) => {
        const view = (await handle.result()) as RunView;
        expect(view).toMatchObject({ status: 'stopped', error: { message: 'enough' } });
        expect(view.steps.map(({ path: at, status }) => `${at} ${status}`)).toEqual([
          'skipped skipped',
          '[1] succeeded',
          '[1]/then/then pending',
          '[1]/else/otherwise succeeded',
          '[2] succeeded',
          '[2]/body succeeded',
          '[2]/finally/clean succeeded',
          '[3] stopped',
          'never pending',
        ]);
      },
      cache,
    );
  });

  test('starts items whose inputs together would not fit into one answer to the server', async () => {
    const big = { op: 'member', of: { op: 'name', name: 'inputs' }, key: 'big' } as const;
    const plan: Plan = {
      ...planOf({
        kind: 'foreach',
        key: 'each',
        items: { op: 'lit', value: Array.from({ length: 12 }, (_, index) => index) },
        as: 'item',
        limit: 12,
        fail: 'fast',
        steps: [step('work', { with: [['big', { t: 'expr', expr: big }]] })],
      }),
      inputs: { big: 'x'.repeat(450_000) },
    };
    await withRun(
      plan,
      async () => ({}),
      async (handle) => expect(((await handle.result()) as RunView).status).toBe('succeeded'),
      cache,
    );
  });

  test('waits for what is not there yet without a trace in the history', async () => {
    let looks = 0;
    const behaviour: Behaviour = async () => {
      looks += 1;
      if (looks < 6) throw new NotYet('SUBMISSION_UNDECIDED', 'still pending', 20);
      return {};
    };
    await withRun(
      planOf(step('a')),
      behaviour,
      async (handle) => {
        expect(await handle.result()).toMatchObject({
          status: 'succeeded',
          steps: [{ attempts: 1 }],
        });
        expect(looks).toBe(6);
        expect(await activityIds(handle)).toEqual(['a', expect.any(String)]);
      },
      cache,
    );
  });

  test('ends a wait at its timeout with the code that it waited for', async () => {
    const behaviour: Behaviour = async () => {
      throw new NotYet('SUBMISSION_UNDECIDED', 'still pending', 60_000);
    };
    const options = { ...OPTIONS, timeoutMs: 4_000 };
    await withRun(
      planOf(step('a', { options })),
      behaviour,
      async (handle) => {
        expect(await handle.result()).toMatchObject({
          status: 'stopped',
          error: { code: 'SUBMISSION_UNDECIDED', message: 'still pending' },
        });
      },
      cache,
    );
  });

  test('a cancelled run cancels its step, runs `finally` and ends as cancelled', async () => {
    const started = new Set<string>();
    const behaviour: Behaviour = async (_input, context) => {
      started.add(context.call.path);
      if (context.call.path !== 'guard/a') return {};
      await new Promise((_resolve, reject) => {
        context.signal.addEventListener('abort', () => reject(context.signal.reason as Error));
      });
      return {};
    };
    const guard: PlanStep = {
      kind: 'try',
      id: 'guard',
      key: 'guard',
      steps: [step('a')],
      finally: [step('clean')],
    };
    await withRun(
      planOf(guard),
      behaviour,
      async (handle) => {
        await expect.poll(() => started.has('guard/a'), { timeout: 20_000 }).toBe(true);
        await handle.cancel();
        await expect(handle.result()).rejects.toMatchObject({
          cause: { name: 'CancelledFailure' },
        });
        expect(started).toContain('guard/finally/clean');
        const record = JSON.parse(
          await readFile(path.join(folder, 'runs', handle.workflowId, 'run.json'), 'utf8'),
        ) as RunView;
        expect(record.status).toBe('cancelled');
        expect(record.steps.map(({ path: at, status }) => `${at} ${status}`)).toEqual([
          'guard cancelled',
          'guard/a cancelled',
          'guard/finally/clean succeeded',
        ]);
      },
      cache,
    );
  });
});
