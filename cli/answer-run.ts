/** What a person says to a run that is open: finding its step, sending, and what comes back. */
import { isJsonObject, type JsonObject } from '../core/json.js';
import type { RunView, StepView } from '../core/run-view.js';
import { CliFailure } from './failure.js';
import { findStepPath } from './find-step.js';
import { unknownRun } from './follow-run.js';
import { ownName } from './own-name.js';
import { describeRun, queryView, toRunStatus } from './run-record.js';
import type { Session } from './session.js';

const UPDATE_TIMEOUT_MS = 15_000;

/**
 * Sends what a person says to an open run, as an update whose id counts once; gives back what the run answers. Throws
 * CliFailure with the run's own words when it refuses. `workflowId`: that part of the run in which the step is.
 */
export async function sendAnswer(
  session: Session,
  { runId, workflowId }: { readonly runId: string; readonly workflowId: string },
  update: string,
  answer: { readonly id: string; readonly step: string },
): Promise<JsonObject> {
  const client = await import('@temporalio/client');
  try {
    const result: unknown = await session.client.withDeadline(Date.now() + UPDATE_TIMEOUT_MS, () =>
      session.client.workflow
        .getHandle(workflowId)
        .executeUpdate(update, { args: [answer], updateId: answer.id }),
    );
    return isJsonObject(result) ? result : {};
  } catch (error) {
    if (error instanceof client.WorkflowUpdateFailedError)
      throw toRefusal(error.cause, answer.step);
    if (error instanceof client.WorkflowUpdateRPCTimeoutOrCancelledError || isDeadline(error)) {
      throw new CliFailure(
        'WORKER_SILENT',
        `No worker has taken the answer within ${UPDATE_TIMEOUT_MS / 1000} s; whether it counts is not known.`,
        {
          hint: `Start a worker, then repeat the command with --id ${answer.id}: it counts once.`,
        },
      );
    }
    if (error instanceof client.WorkflowNotFoundError) throw runEnded(runId);
    throw error;
  }
}

/** The validator's words: a code as the failure's type, and the way out in its details. */
function toRefusal(cause: unknown, step: string): CliFailure {
  const { type, message, details } = (cause ?? {}) as {
    type?: unknown;
    message?: unknown;
    details?: unknown;
  };
  const detail: unknown = Array.isArray(details) ? details[0] : null;
  const hint = isJsonObject(detail) && typeof detail['hint'] === 'string' ? detail['hint'] : '';
  return new CliFailure(
    typeof type === 'string' && type !== '' ? type : 'DECISION_INVALID',
    typeof message === 'string' && message !== ''
      ? message
      : `The run refused the answer for ${step}.`,
    { hint },
  );
}

function isDeadline(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ((at as { code?: unknown }).code === 4) return true;
  }
  return false;
}

/** The view of a run that is open and answers. */
export async function readOpenRun(session: Session, runId: string): Promise<RunView> {
  const description = await describeRun(session, runId);
  if (description === null) throw unknownRun(runId, session);
  if (toRunStatus(description.status.name) !== 'running') throw runEnded(runId);
  const view = await queryView(session, runId);
  if (view !== null) return view;
  throw new CliFailure('WORKER_SILENT', `No worker answers for the run "${runId}".`, {
    hint: `Start one with: ${ownName()} worker`,
  });
}

/** The step that a person means, by path or id. Throws CliFailure STEP_NOT_FOUND, STEP_AMBIGUOUS. */
export function findStep(view: RunView, given: string): StepView {
  const path = findStepPath(
    given,
    view.steps.map((step) => step.path),
    view.runId,
  );
  const step = view.steps.find((candidate) => candidate.path === path);
  if (step === undefined) throw new Error(`no step ${path}`);
  return step;
}

function runEnded(runId: string): CliFailure {
  return new CliFailure('RUN_ENDED', `The run "${runId}" has already ended.`, {
    hint: `See it with: ${ownName()} show ${runId}; go on from it with: ${ownName()} retry ${runId}`,
  });
}
