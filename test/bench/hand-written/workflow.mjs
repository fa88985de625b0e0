// What Adit is compared with: a workflow as an expert writes it by hand.
import { proxyActivities } from '@temporalio/workflow';

const { run } = proxyActivities({
  startToCloseTimeout: '1h',
  heartbeatTimeout: '20s',
  retry: { initialInterval: '1s', maximumAttempts: 3 },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

export async function chain(commands) {
  const results = [];
  for (const command of commands) results.push(await run(command));
  return results.length;
}
