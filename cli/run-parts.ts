/** The parts of a run, sub-pipelines and blocks in workflows of their own, put together to the one run that they are. */
import { isInsideEnded } from '../core/carried-state.js';
import { isJsonObject } from '../core/json.js';
import { isInside } from '../core/plan-paths.js';
import type { RunState, StepState } from '../core/run-state.js';
import type { RunView, StepView } from '../core/run-view.js';
import { partId, RUN_STATE_QUERY } from '../workflows/contract.js';
import type { Session } from './session.js';

/** `uses` of a step that calls a pipeline. */
const CALL = 'pipeline';

/** Most parts of a run that are read for one look at it. */
const MAX_PARTS = 500;
const READ_AT_ONCE = 10;

/** The view with the steps of its parts below the steps that call them; a part that `read` does not find is left out. */
export async function withParts(
  view: RunView,
  read: (call: StepView) => Promise<RunView | null>,
): Promise<RunView> {
  const calls = view.steps.filter(isBegun).slice(0, MAX_PARTS);
  if (calls.length === 0) return view;
  const parts = new Map<string, readonly StepView[]>();
  for (let at = 0; at < calls.length; at += READ_AT_ONCE) {
    const some = calls.slice(at, at + READ_AT_ONCE).map(async (call) => {
      const part = await read(call);
      if (part !== null) parts.set(call.path, (await withParts(part, read)).steps);
    });
    await Promise.all(some);
  }
  const steps: StepView[] = [];
  let open: string | null = null;
  for (const step of view.steps) {
    // What the run itself knew of them is what the part began from.
    if (open !== null && isInside(step.path, open)) continue;
    // The part of a block tells of the block too, which the run itself knows better.
    const inside = parts.get(step.path)?.filter(({ path }) => path !== step.path);
    steps.push(step, ...(inside ?? []));
    open = parts.has(step.path) ? step.path : null;
  }
  return { ...view, steps };
}

/** A call, or a block of which the rest goes on with a history of its own. */
function hasPart({ uses, part }: Pick<StepState, 'uses' | 'part'>): boolean {
  return uses === CALL || part === true;
}

function isBegun(step: StepView): boolean {
  return hasPart(step) && step.status !== 'pending' && step.status !== 'skipped';
}

/** Workflow ids of the parts that are under way. */
export function openParts(view: RunView): string[] {
  const open = view.steps.filter((step) => hasPart(step) && step.status === 'running');
  return open.map(({ path }) => partId(view.runId, path));
}

/** Workflow id of that part of a run, or of the run itself, in which the step at `path` is. */
export function workflowOf(view: RunView, runId: string, path: string): string {
  const calls = view.steps.filter((step) => isBegun(step) && isInside(path, step.path));
  const innermost = calls.map((call) => call.path).sort((a, b) => b.length - a.length)[0];
  return innermost === undefined ? runId : partId(view.runId, innermost);
}

/**
 * The state of a run, with what its parts know of their steps; of parts in items that have succeeded, which stay whole,
 * only of those that `isWanted`. Throws when no worker answers.
 */
export async function queryWholeState(
  session: Session,
  runId: string,
  options: { readonly timeoutMs: number; readonly isWanted?: (path: string) => boolean },
): Promise<RunState> {
  const { timeoutMs, isWanted = () => false } = options;
  const steps: { [path: string]: StepState } = {};
  const decisions: { [id: string]: NonNullable<RunState['decisions']>[string] } = {};
  const left = [runId];
  for (let id = left.shift(); id !== undefined; id = left.shift()) {
    const state = await queryState(session, id, timeoutMs, id !== runId);
    if (state === null) continue;
    Object.assign(decisions, state.decisions);
    for (const [path, step] of Object.entries(state.steps)) {
      steps[path] = step;
      if (!hasPart(step) || step.status === 'skipped') continue;
      if (!isInsideEnded(path, state.steps) || isWanted(path)) left.push(partId(runId, path));
    }
  }
  return { steps, ...(Object.keys(decisions).length === 0 ? {} : { decisions }) };
}

/** Null for a part that never began. */
async function queryState(
  session: Session,
  id: string,
  timeoutMs: number,
  isPart: boolean,
): Promise<RunState | null> {
  const { WorkflowNotFoundError } = await import('@temporalio/client');
  try {
    const state: unknown = await session.client.withDeadline(Date.now() + timeoutMs, () =>
      session.client.workflow.getHandle(id).query(RUN_STATE_QUERY),
    );
    if (isRunState(state)) return state;
  } catch (error) {
    if (isPart && error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
  throw new Error('Its answer is not understood.');
}

function isRunState(value: unknown): value is RunState {
  return (
    isJsonObject(value) &&
    isJsonObject(value['steps']) &&
    Object.values(value['steps']).every(
      (step) => isJsonObject(step) && typeof step['status'] === 'string',
    )
  );
}
