import { randomUUID } from 'node:crypto';
import type { Session } from './session.js';

const RPC_TIMEOUT_MS = 5_000;

/** Asks the server to cancel a run; the reason stands in its history. The client's own `cancel` takes none. */
export async function requestCancel(
  session: Session,
  runId: string,
  reason: string,
): Promise<void> {
  await session.client.withDeadline(Date.now() + RPC_TIMEOUT_MS, () =>
    session.client.workflowService.requestCancelWorkflowExecution({
      namespace: session.server.namespace,
      workflowExecution: { workflowId: runId },
      identity: 'adit',
      requestId: randomUUID(),
      reason: reason.slice(0, 500),
    }),
  );
}
