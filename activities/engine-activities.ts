/** The activities of the engine itself: what a workflow asks of a worker besides its steps. */
import { ApplicationFailure, Context, log } from '@temporalio/activity';
import { ApplicationFailureCategory } from '@temporalio/common';
import { errorMessage, StepError } from '../core/error.js';
import { jsonSizeBytes } from '../core/json-size.js';
import type { JsonObject } from '../core/json.js';
import { MAX_OUTPUT_BYTES } from '../core/run-state.js';
import type { Adapters } from './adapters.js';
import { toApplicationFailure } from './boundary.js';
import type { StepType } from './step-type.js';

const HEARTBEAT_EVERY_MS = 1_000;
const AGAIN_MS = 5_000;

/** Names the queue of this worker's host, for the programs of a run that need no workspace. */
export function createPlaceActivity({
  hostQueue,
}: Pick<Adapters, 'hostQueue'>): () => Promise<{ queue: string }> {
  return async () => ({ queue: hostQueue });
}

/**
 * Ends what is left of a step's programs on this host, and returns when nothing is. It is never given up: each
 * failure is tried again by Temporal, and this attempt's token is newer than that of any worker that still follows.
 */
export function createEndProgramActivity({
  processes,
}: Pick<Adapters, 'processes'>): (args: {
  readonly runId: string;
  readonly stepPath: string;
}) => Promise<void> {
  return async ({ runId, stepPath }) => {
    const activity = Context.current();
    const { cancellationSignal: signal, info } = activity;
    const beat = setInterval(() => activity.heartbeat(), HEARTBEAT_EVERY_MS);
    try {
      await processes.endStep(
        {
          runId,
          stepPath,
          token: info.currentAttemptScheduledTimestampMs,
          reason: 'confirm',
        },
        { signal },
      );
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      log.warn('The end of a program could not be confirmed yet.', {
        runId,
        stepPath,
        reason: errorMessage(error),
      });
      if (!(error instanceof StepError)) throw error;
      throw ApplicationFailure.create({
        message: error.message,
        type: error.code,
        nonRetryable: false,
        nextRetryDelay: AGAIN_MS,
        category: ApplicationFailureCategory.BENIGN,
      });
    } finally {
      clearInterval(beat);
    }
  };
}

/** Checks outputs that a person gives for a parked step by the step type's own schema. Fails with DECISION_INVALID. */
export function createCheckOutputsActivity(
  stepTypes: readonly StepType[],
): (args: { readonly uses: string; readonly outputs: JsonObject }) => Promise<JsonObject> {
  return async ({ uses, outputs }) => {
    try {
      return checkOutputs(stepTypes, uses, outputs);
    } catch (error) {
      throw error instanceof StepError ? toApplicationFailure(error) : error;
    }
  };
}

/** Throws DECISION_INVALID; the message names the member. */
function checkOutputs(
  stepTypes: readonly StepType[],
  uses: string,
  outputs: JsonObject,
): JsonObject {
  const hint = `docs/steps.md tells what ${uses} returns.`;
  const stepType = stepTypes.find(({ name }) => name === uses);
  if (stepType === undefined) {
    throw new StepError('DECISION_INVALID', `This worker does not know the step type ${uses}.`);
  }
  if (HAND_MADE_NEVER.has(uses)) {
    throw new StepError(
      'DECISION_INVALID',
      `The outputs of ${uses} are a proof that the gate was passed; nobody can give them.`,
      { hint: 'Let the step be tried again, or let it fail.' },
    );
  }
  for (const name of Object.keys(outputs)) {
    if (Object.hasOwn(stepType.output.shape, name)) continue;
    throw new StepError('DECISION_INVALID', `${uses} has no output ${name}.`, { hint });
  }
  const parsed = stepType.output.safeParse(outputs);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const member = issue?.path.join('.') || 'outputs';
    throw new StepError(
      'DECISION_INVALID',
      `${uses}: ${member}: ${issue?.message ?? 'is not valid'}`,
      {
        hint,
      },
    );
  }
  const size = jsonSizeBytes(parsed.data);
  if (size > MAX_OUTPUT_BYTES) {
    throw new StepError(
      'DECISION_INVALID',
      `The outputs are ${size} bytes long; at most ${MAX_OUTPUT_BYTES} may travel.`,
      { hint: 'Large values belong into a file; give its FileRef.' },
    );
  }
  return parsed.data as JsonObject;
}

/** A verdict is proof only as long as nothing but the gate makes one. */
const HAND_MADE_NEVER: ReadonlySet<string> = new Set(['gate.evidence']);
