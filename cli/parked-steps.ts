import type { WorkflowExecutionInfo } from '@temporalio/client';
import type { RunView, StepView } from '../core/run-view.js';
import { WORKFLOW_TYPE } from '../workflows/contract.js';
import { clean } from './output.js';
import { ownName } from './own-name.js';
import { queryView } from './run-record.js';
import type { Session } from './session.js';

/** Most open runs that are asked whether they wait for a person. */
const MOST_RUNS = 200;
const ASKED_AT_ONCE = 10;

export interface ParkedStep {
  readonly runId: string;
  readonly step: StepView;
}

/** The steps of a run that wait for a person. */
export function parkedIn(view: RunView): StepView[] {
  return view.steps.filter(({ status }) => status === 'parked');
}

/** The command that shows what is asked; safe to print. */
export function decideCommand(
  runId: string,
  { path, approval }: Pick<StepView, 'path' | 'approval'>,
): string {
  const command = approval === undefined ? 'decide' : 'approve';
  return `${ownName()} ${command} ${clean(runId)} ${quoted(clean(path, 1_000))}`;
}

/** What a step waits for, in a word. */
export function awaited({ approval }: Pick<StepView, 'approval'>): string {
  return approval === undefined ? 'a decision' : 'approval';
}

/** One word of a shell. It would take `#` for nothing inside a word, but not everything else. */
export function quoted(text: string): string {
  return /^[A-Za-z0-9@%_+=:,./#-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** What waits for a person in all open runs; `silent` are runs that no worker answered for. */
export async function findParked(
  session: Session,
): Promise<{ readonly parked: ParkedStep[]; readonly silent: string[] }> {
  const runIds: string[] = [];
  const open = session.client.workflow.list({
    query: `WorkflowType="${WORKFLOW_TYPE}" AND ExecutionStatus="Running"`,
    pageSize: MOST_RUNS,
  });
  for await (const execution of open) {
    if (isPart(execution)) continue;
    runIds.push(execution.workflowId);
    if (runIds.length === MOST_RUNS) break;
  }
  const views = await queryViews(session, runIds);
  return {
    parked: runIds.flatMap((runId) => {
      const view = views.get(runId);
      return view === undefined ? [] : parkedIn(view).map((step) => ({ runId, step }));
    }),
    silent: runIds.filter((runId) => !views.has(runId)),
  };
}

/** True for a workflow that is a part of a run: what is in it belongs to that run. */
export function isPart({
  parentExecution,
}: Pick<WorkflowExecutionInfo, 'parentExecution'>): boolean {
  return parentExecution !== undefined;
}

/** The views of open runs, as far as a worker answers. */
export async function queryViews(
  session: Session,
  runIds: readonly string[],
): Promise<ReadonlyMap<string, RunView>> {
  const views = new Map<string, RunView>();
  for (let at = 0; at < runIds.length; at += ASKED_AT_ONCE) {
    const some = runIds.slice(at, at + ASKED_AT_ONCE);
    const answers = await Promise.all(some.map((runId) => queryView(session, runId)));
    some.forEach((runId, index) => {
      const view = answers[index];
      if (view !== null && view !== undefined) views.set(runId, view);
    });
    // Nobody polls: the others would only wait for their deadlines too.
    if (views.size === 0) break;
  }
  return views;
}
