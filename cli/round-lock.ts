/** One run at a time for a task and a hotkey: the lock is a workflow that lives as long as the run that holds it. */
import { createHash } from 'node:crypto';
import type { WorkflowExecutionDescription } from '@temporalio/client';
import { STEP_TYPES } from '../activities/registry.js';
import type { Settings } from '../adapters/settings/settings.js';
import { canonicalJson } from '../core/canonical-json.js';
import type { Plan } from '../core/plan.js';
import { CliFailure } from './failure.js';
import { ownName } from './own-name.js';
import { stepsOf } from './run-terms.js';
import type { Session } from './session.js';

const RPC_TIMEOUT_MS = 5_000;

/**
 * Workflow id of the lock that a run of `plan` must hold; null when two of them could not come in each other's way,
 * or the settings allow it.
 */
export function roundLockOf(
  plan: Plan,
  settings: Pick<Settings, 'allowParallelRounds'>,
): string | null {
  const { coordinator, hotkey } = plan.network;
  const task = plan.inputs['task'];
  if (settings.allowParallelRounds || hotkey === '' || typeof task !== 'string') return null;
  if (!hasEffect(plan)) return null;
  const named = canonicalJson({ coordinator, hotkey, task });
  return `adit-round:${createHash('sha256').update(named).digest('hex')}`;
}

/** True when a step of the plan changes something outside that cannot be taken back. */
export function hasEffect(plan: Plan): boolean {
  const effects = new Set(
    STEP_TYPES.filter(({ effect }) => effect === true).map(({ name }) => name),
  );
  return stepsOf(plan.steps, '').some(({ step }) => step.kind === 'step' && effects.has(step.uses));
}

/**
 * Throws CliFailure ROUND_RUNNING when a run holds the lock. The run itself takes it, and ends as stopped when
 * another was quicker: this look is to say so before anything was started.
 */
export async function refuseRunningRound(
  session: Session,
  lockId: string,
  plan: Plan,
): Promise<void> {
  const holder = await findHolder(session, lockId);
  if (holder === null) return;
  const task = String(plan.inputs['task']);
  throw new CliFailure(
    'ROUND_RUNNING',
    `The run ${holder} for the task ${task} and the hotkey ${plan.network.hotkey} is not over yet; nothing was started.`,
    {
      hint: `See it with: ${ownName()} show ${holder}; end it with: ${ownName()} cancel ${holder}; or set ADIT_ALLOW_PARALLEL_ROUNDS=true where two at a time are wanted.`,
    },
  );
}

/** The run that holds a lock; null when none does. The lock of a run that is over is ended. */
async function findHolder(session: Session, lockId: string): Promise<string | null> {
  const lock = await describe(session, lockId);
  if (lock?.status.name !== 'RUNNING') return null;
  const holder = lock.raw.workflowExecutionInfo?.parentExecution?.workflowId;
  if (holder === undefined || holder === null) return lockId;
  const run = await describe(session, holder);
  if (run?.status.name === 'RUNNING') return holder;
  // A run that was reset and then terminated leaves its lock behind: the server does not end it.
  await unlessGone(session, ({ workflow }) =>
    workflow.getHandle(lockId, lock.runId).terminate('The run that held it is over.'),
  );
  return null;
}

function describe(
  session: Session,
  workflowId: string,
): Promise<WorkflowExecutionDescription | null> {
  return unlessGone(session, ({ workflow }) => workflow.getHandle(workflowId).describe());
}

/** Null for a workflow that is not there, or no longer. */
async function unlessGone<T>(
  { client }: Session,
  ask: (client: Session['client']) => Promise<T>,
): Promise<T | null> {
  const { WorkflowNotFoundError } = await import('@temporalio/client');
  try {
    return await client.withDeadline(Date.now() + RPC_TIMEOUT_MS, () => ask(client));
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}
