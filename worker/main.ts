/**
 * The worker process: builds the adapters once, serves the shared task queue (workflows and steps) and
 * this host's own queue (steps that need its files), and drains on SIGTERM.
 *
 * Prints one JSON line on stdout when it polls; everything else goes to stderr.
 */
import { fileURLToPath } from 'node:url';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createActivities, createRecordActivity } from '../activities/boundary.js';
import { STEP_TYPES } from '../activities/registry.js';
import type { Adapters } from '../activities/adapters.js';
import { errorMessage } from '../core/error.js';
import { RECORD_ACTIVITY } from '../workflows/contract.js';
import { createAdapters } from './create-adapters.js';
import { loadWorkerConfig, type WorkerConfig } from './config.js';

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
  const workers = await createWorkers(config, connection);
  const running = workers.map((worker) => worker.run());
  process.stdout.write(
    `${JSON.stringify({
      ready: true,
      taskQueue: config.settings.taskQueue,
      hostQueue: config.hostQueue,
      pid: process.pid,
    })}\n`,
  );
  try {
    await Promise.all(running);
  } finally {
    await connection.close();
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
  connection: NativeConnection,
): Promise<Worker[]> {
  const adapters = createAdapters(config);
  if (config.settings.hotkeyFile !== null) openHotkey(adapters);
  const activities = createActivities(STEP_TYPES, adapters);
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
        codePath: fileURLToPath(new URL('../workflow-bundle.js', import.meta.url)),
      },
      activities: { ...activities, [RECORD_ACTIVITY]: createRecordActivity(adapters) },
      maxConcurrentActivityTaskExecutions: 20,
      maxCachedWorkflows: 200,
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
