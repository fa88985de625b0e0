import { randomUUID } from 'node:crypto';
import { ABANDON_SIGNAL, FORCE_SIGNAL } from '../workflows/contract.js';
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

/** Tells a run no longer to wait for hosts that are silent. */
export function abandonHosts(session: Session, runId: string): Promise<void> {
  return signal(session, runId, ABANDON_SIGNAL);
}

/** Tells a run that its `finally` is cancelled with the rest of it. */
export function forceFinally(session: Session, runId: string): Promise<void> {
  return signal(session, runId, FORCE_SIGNAL);
}

async function signal(session: Session, runId: string, name: string): Promise<void> {
  await session.client.withDeadline(Date.now() + RPC_TIMEOUT_MS, () =>
    session.client.workflow.getHandle(runId).signal(name),
  );
}
