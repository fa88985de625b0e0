/** Runs of the workflow on a real server, each with a worker of its own whose activities are functions of the test. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';
import { expect } from 'vitest';
import { z } from 'zod';
import type { Adapters } from '../../activities/adapters.js';
import { createActivities, createRecordActivity } from '../../activities/boundary.js';
import { defineStep, type StepContext, type StepType } from '../../activities/step-type.js';
import { readChain } from '../../adapters/bundle/chain.js';
import { createBundles } from '../../adapters/bundle/seal-bundle.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { createFolderStore } from '../../adapters/store/store.js';
import type { Plan } from '../../core/plan.js';
import type { RunState } from '../../core/run-state.js';
import type { RunView, StepView } from '../../core/run-view.js';
import {
  APPROVE_UPDATE,
  DECIDE_UPDATE,
  RECORD_ACTIVITY,
  RUN_STATE_QUERY,
  STATE_QUERY,
  WORKFLOW_TYPE,
  type Approval,
  type ApprovalResult,
  type Decision,
  type DecisionResult,
  type RunArgs,
} from '../../workflows/contract.js';
import { PACKAGE_ROOT } from './local-network.js';
import { bundleOfWorkingTree } from './workflow-bundle.js';

/** What the step type `test.step` does. */
export type Behaviour = (
  input: { [key: string]: unknown },
  context: StepContext,
) => Promise<{ [key: string]: unknown }>;

/** Activities by their type, as a worker takes them. */
export type TestActivities = { [type: string]: (argument: never) => Promise<unknown> };

export interface RunCase {
  readonly plan: Plan;
  readonly behaviour: Behaviour;
  /** Besides `test.step` and the record of the end. */
  readonly activities?: TestActivities;
  readonly args?: Partial<RunArgs>;
  readonly maxCachedWorkflows?: number;
}

export interface StartedRun {
  readonly handle: WorkflowHandle;
  readonly taskQueue: string;
  /** Starts another run on the same worker. */
  readonly start: (plan: Plan, args?: Partial<RunArgs>) => Promise<WorkflowHandle>;
}

export interface Runs {
  /** Folder of the evidence. */
  readonly folder: string;
  readonly client: Client;
  /** Starts a run, and ends its worker when `body` is done. */
  withRun(run: RunCase, body: (started: StartedRun) => Promise<void>): Promise<void>;
  /** A worker for a host's queue while `body` goes on. */
  withHost(queue: string, activities: TestActivities, body: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

export async function openRuns(address: string): Promise<Runs> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const connection = await Connection.connect({ address });
  const native = await NativeConnection.connect({ address });
  const bundle = await bundleOfWorkingTree();
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-run-'));
  const client = new Client({ connection });
  return {
    folder,
    client,
    withRun: (run, body) => withRun(run, body, { native, bundle, folder, client }),
    withHost: async (taskQueue, activities, body) => {
      const worker = await Worker.create({
        connection: native,
        taskQueue,
        activities,
        maxHeartbeatThrottleInterval: '1s',
        shutdownGraceTime: 0,
      });
      await worker.runUntil(body);
    },
    close: async () => {
      await connection.close();
      await native.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

async function withRun(
  { plan, behaviour, activities = {}, args = {}, maxCachedWorkflows = 10 }: RunCase,
  body: (started: StartedRun) => Promise<void>,
  parts: {
    native: NativeConnection;
    bundle: WorkflowBundleWithSourceMap;
    folder: string;
    client: Client;
  },
): Promise<void> {
  const taskQueue = `test-${randomBytes(4).toString('hex')}`;
  const evidence = createEvidence(parts.folder);
  const bundles = createBundles({
    stateDir: parts.folder,
    store: createFolderStore(path.join(parts.folder, 'store')),
    evidence,
    mask: (text) => text,
    build: 'test',
  });
  const adapters = { evidence, bundles } as Adapters;
  const worker = await Worker.create({
    connection: parts.native,
    taskQueue,
    workflowBundle: { code: parts.bundle.code },
    activities: {
      ...createActivities([stepTypeOf(behaviour)], adapters),
      [RECORD_ACTIVITY]: createRecordActivity(adapters),
      ...activities,
    },
    maxCachedWorkflows,
    maxHeartbeatThrottleInterval: '1s',
    shutdownGraceTime: 0,
  });
  const start = async (of: Plan, more: Partial<RunArgs> = {}): Promise<WorkflowHandle> => {
    const runId = `test-${randomBytes(6).toString('hex')}`;
    const whole: RunArgs = { plan: of, roundId: runId, searchAttributes: true, ...more };
    return parts.client.workflow.start(WORKFLOW_TYPE, {
      taskQueue,
      workflowId: runId,
      args: [whole],
    });
  };
  await worker.runUntil(async () => {
    const handle = await start(plan, args);
    await body({ handle, taskQueue, start });
    // However it ended, what it left can be read.
    const chain = await evidence.readChain(handle.workflowId);
    if (chain !== null) expect(readChain(chain).problems).toEqual([]);
    await recordHistory(handle, parts.client);
  });
}

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

/** With ADIT_RECORD_HISTORIES set, keeps the histories of each case that are not there yet, for the replay tests. */
export async function recordHistory(
  handle: WorkflowHandle,
  client: Client,
  caption?: string,
): Promise<void> {
  const target = process.env['ADIT_RECORD_HISTORIES'];
  if (target === undefined) return;
  const name =
    caption ?? expect.getState().currentTestName?.split(' > ').at(-1) ?? handle.workflowId;
  const slug = name
    .replace(/[^A-Za-z]+/g, '-')
    .toLowerCase()
    .slice(0, 60);
  for (const [at, events] of (await historiesOf(handle, client)).entries()) {
    // Stack traces name the folder of this checkout, which is nobody else's.
    const text = historyToJSON({ events }).replaceAll(PACKAGE_ROOT, '/adit/');
    const part = at === 0 ? '' : `.${at}`;
    const isLong = text.length > LONG_HISTORY;
    const file = path.join(target, `run-pipeline.v1.${slug}${part}.json${isLong ? '.gz' : ''}`);
    await writeFile(file, isLong ? gzipSync(text) : text, { flag: 'wx' }).catch(
      (error: unknown) => {
        if (!(error instanceof Error) || !('code' in error) || error.code !== 'EEXIST') throw error;
      },
    );
  }
}

/** Characters from which on a history is kept compressed. */
const LONG_HISTORY = 200_000;

type Events = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>;

interface HistoryPage {
  readonly history?: { readonly events?: Events | null } | null;
  readonly nextPageToken?: Uint8Array | null;
}

/** The histories of a run, the newest first; in small pages, since a client takes no answer beyond 4 MiB. */
export async function historiesOf(
  { workflowId }: WorkflowHandle,
  client: Client,
): Promise<Events[]> {
  const histories: Events[] = [];
  let runId = '';
  do {
    const events: Events = [];
    let nextPageToken: Uint8Array = new Uint8Array();
    do {
      const page: HistoryPage = await client.workflowService.getWorkflowExecutionHistory({
        namespace: client.options.namespace,
        execution: { workflowId, runId },
        maximumPageSize: 4,
        nextPageToken,
      });
      events.push(...(page.history?.events ?? []));
      nextPageToken = page.nextPageToken ?? new Uint8Array();
    } while (nextPageToken.length > 0);
    histories.push(events);
    runId = events[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId ?? '';
  } while (runId !== '');
  return histories;
}

/** Ids of the activities in the order in which they were scheduled. */
export async function activityIds(handle: WorkflowHandle): Promise<string[]> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap(
    (event) => event.activityTaskScheduledEventAttributes?.activityId ?? [],
  );
}

export function viewOf(handle: WorkflowHandle): Promise<RunView> {
  return handle.query<RunView>(STATE_QUERY);
}

export function runStateOf(handle: WorkflowHandle): Promise<RunState> {
  return handle.query<RunState>(RUN_STATE_QUERY);
}

/** Waits until a step is as `wanted` says, and returns it. */
export async function untilStep(
  handle: WorkflowHandle,
  stepPath: string,
  wanted: (step: StepView) => boolean,
): Promise<StepView> {
  let found: StepView | undefined;
  await expect
    .poll(
      async () => {
        const { steps } = await viewOf(handle);
        found = steps.find((step) => step.path === stepPath);
        return found !== undefined && wanted(found);
      },
      { timeout: 60_000 },
    )
    .toBe(true);
  if (found === undefined) throw new Error(`There is no step ${stepPath}.`);
  return found;
}

export function decide(handle: WorkflowHandle, decision: object): Promise<DecisionResult> {
  return handle.executeUpdate<DecisionResult, [Decision]>(DECIDE_UPDATE, {
    args: [{ by: 'tester', ...decision } as Decision],
  });
}

export function approve(handle: WorkflowHandle, answer: object): Promise<ApprovalResult> {
  return handle.executeUpdate<ApprovalResult, [Approval]>(APPROVE_UPDATE, {
    args: [{ action: 'approve', ...answer } as Approval],
  });
}
