/** Does what a fault means while the run waits at its boundary, and lets the run go on. */
import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { readLivePrograms } from '../../adapters/processes/recorded-starts.js';
import type { FaultName } from '../../rehearse/fault.js';
import type { Session } from '../session.js';
import type { JournalLine } from './journals.js';
import type { Site } from './site.js';

/** Seconds. A claim of the devnet lives 2,700. */
const JUMP_SECONDS = 60;
const PAST_CLAIMS_SECONDS = 2_701;

export interface Stage {
  readonly site: Site;
  readonly session: Session;
  /** Restarts the Temporal server, which comes back on its address. */
  readonly restartServer: () => Promise<void>;
  readonly runId: string;
}

/** `line` is the moment: a request that is held, or a process that has stopped at a record. */
export async function placeFault(fault: FaultName, line: JournalLine, stage: Stage): Promise<void> {
  const { site, session, runId } = stage;
  switch (fault) {
    case 'kill_worker':
      await site.restart('worker');
      break;
    case 'kill_host':
      await site.restart('host');
      break;
    case 'kill_program':
      await killPrograms(site);
      break;
    case 'restart_coordinator':
      await site.restart('devnet');
      break;
    case 'restart_server':
      await stage.restartServer();
      break;
    case 'jump_clock':
      await site.admin('POST', 'clock/advance', { seconds: JUMP_SECONDS });
      break;
    case 'expire_claims':
      await site.admin('POST', 'clock/advance', { seconds: PAST_CLAIMS_SECONDS });
      break;
    case 'reset_run':
      await resetRun(session, runId);
      break;
    case 'cancel_and_retry':
      await session.client.workflow.getHandle(runId).cancel();
      break;
    case 'drop_request':
    case 'drop_reply':
    case 'delay_past_look':
    case 'lagging_lists':
    case 'html':
    case 'truncated_json':
    case 'unavailable':
    case 'too_many':
      throw new Error(`${fault} is the devnet's own`);
  }
  if (line.event === 'record') resume(line.pid);
  else await site.admin('POST', 'faults/release');
}

/** One that was killed meanwhile need not go on. */
function resume(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function killPrograms(site: Site): Promise<void> {
  for (const { pid } of await readLivePrograms(site.settings.stateDir)) {
    if (pid !== null) process.kill(-pid, 'SIGKILL');
  }
}

/** To before the last step that the run has begun: what that step did outside stays done. */
async function resetRun({ client, connection, server }: Session, runId: string): Promise<void> {
  const handle: WorkflowHandle = client.workflow.getHandle(runId);
  const { events } = await handle.fetchHistory();
  const begun = (events ?? []).findLastIndex((event) => event.activityTaskScheduledEventAttributes);
  const before = events
    ?.slice(0, Math.max(begun, 0))
    .findLast((event) => event.workflowTaskCompletedEventAttributes);
  const described = await handle.describe();
  await connection.workflowService.resetWorkflowExecution({
    namespace: server.namespace,
    workflowExecution: { workflowId: runId, runId: described.runId },
    reason: 'a rehearsal',
    requestId: randomUUID(),
    workflowTaskFinishEventId: before?.eventId ?? null,
  });
}
