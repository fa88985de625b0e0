import { type Client, WorkflowNotFoundError } from '@temporalio/client';

const CLOSED: ReadonlySet<string> = new Set([
  'COMPLETED',
  'FAILED',
  'CANCELLED',
  'TERMINATED',
  'TIMED_OUT',
]);

/** What the server says of a run, by its latest execution. Throws when the server cannot be asked. */
export async function describeRun(
  client: Client,
  runId: string,
): Promise<'open' | 'closed' | 'unknown'> {
  try {
    const { status } = await client.workflow.getHandle(runId).describe();
    return CLOSED.has(status.name) ? 'closed' : 'open';
  } catch (error) {
    // A namespace that is not there throws something else, and says nothing about the run.
    if (error instanceof WorkflowNotFoundError) return 'unknown';
    throw error;
  }
}
