// The worker for it: the same server, connection settings and slots as Adit's worker; one execa a step, with
// heartbeat and cancellation. The bundle is made before: node worker.mjs BUNDLE ADDRESS NAMESPACE QUEUE
import { Context } from '@temporalio/activity';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { execa } from 'execa';
import { mark, noop, pause } from './engine-activities.mjs';

const [codePath, address, namespace, taskQueue] = process.argv.slice(2);

async function run(command) {
  const { cancellationSignal } = Context.current();
  const context = Context.current();
  const beat = setInterval(() => context.heartbeat(command), 1_000);
  context.heartbeat(command);
  try {
    const { exitCode, all } = await execa('/bin/sh', ['-c', command], {
      all: true,
      cancelSignal: cancellationSignal,
      forceKillAfterDelay: 5_000,
    });
    return { exitCode, tail: all.slice(-400) };
  } finally {
    clearInterval(beat);
  }
}

Runtime.install({ logger: new DefaultLogger('WARN'), shutdownSignals: ['SIGTERM', 'SIGINT'] });
const connection = await NativeConnection.connect({ address });
const worker = await Worker.create({
  connection,
  namespace,
  taskQueue,
  workflowBundle: { codePath },
  activities: { run, mark, noop, pause },
  shutdownGraceTime: '2s',
  maxHeartbeatThrottleInterval: '1s',
  defaultHeartbeatThrottleInterval: '1s',
  maxConcurrentActivityTaskExecutions: 20,
  maxCachedWorkflows: 200,
});
const running = worker.run();
process.stdout.write(`${JSON.stringify({ ready: true, pid: process.pid })}\n`);
await running;
await connection.close();
