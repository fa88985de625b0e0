/**
 * The worker process: builds the adapters once, serves the shared task queue (workflows and steps) and
 * this host's own queue (steps that need its files), and drains on SIGTERM. The process host and its programs go on
 * without it.
 *
 * Prints one JSON line on stdout when it polls; everything else goes to stderr.
 */
import path from 'node:path';
import { Client } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createNotifier } from '../adapters/notify/notifier.js';
import { findPackage } from '../adapters/package/find-package.js';
import { createActivities, createRecordActivity } from '../activities/boundary.js';
import {
  createCheckOutputsActivity,
  createEndProgramActivity,
  createPlaceActivity,
} from '../activities/engine-activities.js';
import { createNotifyActivity } from '../activities/notify.js';
import { STEP_TYPES } from '../activities/registry.js';
import type { Adapters } from '../activities/adapters.js';
import { errorMessage } from '../core/error.js';
import {
  CHECK_OUTPUTS_ACTIVITY,
  END_PROGRAM_ACTIVITY,
  NOTIFY_ACTIVITY,
  PLACE_ACTIVITY,
  RECORD_ACTIVITY,
} from '../workflows/contract.js';
import { createAdapters } from './create-adapters.js';
import { loadWorkerConfig, type WorkerConfig } from './config.js';
import { describeRun } from './describe-run.js';
import {
  readFirstProcess,
  readHostStanding,
  readStanding,
  redeployWarning,
} from '../adapters/processes/redeploy-warning.js';
import { watchRuns } from './watch-runs.js';

/** How long a step may go on after SIGTERM; a program that outlasts it is left to the next attempt. */
const SHUTDOWN_GRACE = '2s';
/** Bounds how long a cancellation takes to reach a step. */
const HEARTBEAT_THROTTLE = '1s';

async function main(): Promise<void> {
  const config = loadWorkerConfig();
  Runtime.install({
    logger: new DefaultLogger('WARN', (entry) => {
      process.stderr.write(`${entry.level} ${entry.message} ${JSON.stringify(entry.meta ?? {})}\n`);
    }),
    shutdownSignals: ['SIGTERM', 'SIGINT'],
  });
  const connection = await NativeConnection.connect(config.connection);
  const adapters = createAdapters(config);
  if (config.settings.hotkeyFile !== null) openHotkey(adapters);
  // Made later: a worker that cannot start must not hold on to a host.
  let watch: ReturnType<typeof watchRuns> | null = null;
  const workers = await createWorkers(config, adapters, {
    connection,
    onForgotten: () => watch?.look(),
  });
  const running = workers.map((worker) => worker.run());
  process.stdout.write(
    `${JSON.stringify({
      ready: true,
      taskQueue: config.settings.taskQueue,
      hostQueue: config.hostQueue,
      pid: process.pid,
    })}\n`,
  );
  void introduceHost(adapters);
  const client = new Client({ connection, namespace: config.namespace });
  watch = watchRuns({
    processes: adapters.processes,
    server: config.server,
    describeRun: (runId) => describeRun(client, runId),
    onRemark: remark,
  });
  try {
    await Promise.all(running);
  } finally {
    watch.stop();
    adapters.processes.close();
    await connection.close();
  }
}

function remark(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Starts the host where none runs, and says what it can promise. Steps that need it start it again when it is gone. */
async function introduceHost({ processes }: Adapters): Promise<void> {
  try {
    const host = await processes.info();
    remark(`Process host ${host.pid} (build ${host.build}): ${host.promise}`);
    const self = readStanding('self');
    const warning =
      self === null ? null : redeployWarning(self, readHostStanding(host), readFirstProcess());
    if (warning !== null) remark(`Warning: ${warning}`);
  } catch (error) {
    const hint = (error as { hint?: unknown }).hint;
    remark(
      `No program can run: ${errorMessage(error)}${typeof hint === 'string' ? ` ${hint}` : ''}`,
    );
  }
}

/** Opening an encrypted hotkey takes seconds: now, and not in the first step. A step asks again. */
function openHotkey({ wallet }: Adapters): void {
  wallet.address().catch((error: unknown) => {
    process.stderr.write(`The hotkey cannot be used: ${errorMessage(error)}\n`);
  });
}

async function createWorkers(
  config: WorkerConfig,
  adapters: Adapters,
  {
    connection,
    onForgotten,
  }: { readonly connection: NativeConnection; readonly onForgotten: () => void },
): Promise<Worker[]> {
  const activities = {
    ...createActivities(STEP_TYPES, adapters, onForgotten),
    [RECORD_ACTIVITY]: createRecordActivity(adapters),
    [PLACE_ACTIVITY]: createPlaceActivity(adapters),
    [END_PROGRAM_ACTIVITY]: createEndProgramActivity(adapters),
    [NOTIFY_ACTIVITY]: createNotifyActivity(
      createNotifier(config.settings, config.hookEnvironment),
    ),
    [CHECK_OUTPUTS_ACTIVITY]: createCheckOutputsActivity(STEP_TYPES),
  };
  const common = {
    connection,
    namespace: config.namespace,
    identity: config.identity,
    shutdownGraceTime: SHUTDOWN_GRACE,
    maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
    defaultHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
  };
  return Promise.all([
    Worker.create({
      ...common,
      taskQueue: config.settings.taskQueue,
      workflowBundle: {
        codePath: path.join(findPackage().root, 'dist', 'workflow-bundle.js'),
      },
      activities,
      maxConcurrentActivityTaskExecutions: 20,
      maxCachedWorkflows: 200,
      stickyQueueScheduleToStartTimeout: config.stickyTimeoutMs,
    }),
    Worker.create({
      ...common,
      taskQueue: config.hostQueue,
      activities,
      // One poller: a worker that is frozen keeps its open polls, and they swallow retries.
      maxConcurrentActivityTaskPolls: 1,
      maxConcurrentActivityTaskExecutions: config.maxHostSteps,
    }),
  ]);
}

try {
  await main();
} catch (error) {
  const hint = (error as { hint?: unknown }).hint;
  process.stderr.write(`The worker cannot run: ${errorMessage(error)}\n`);
  if (typeof hint === 'string') process.stderr.write(`${hint}\n`);
  process.exitCode = 1;
}
