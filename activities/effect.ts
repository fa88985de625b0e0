/**
 * Effects on the outside happen once: look before you repeat (design section 6).
 *
 * Invariants:
 * 1. What is about to be done is on the disk before it is done.
 * 2. It is done without looking only by the first attempt of the first start, with nothing recorded.
 * 3. A try whose outcome is unclear throws a retryable error; the next try looks first.
 * 4. "Cannot know" never leads to a second act.
 */
import { StepError } from '../core/error.js';
import type { JsonObject } from '../core/json.js';
import type { StepContext } from './step-type.js';

/** What a look at the outside shows. `unknown` holds the reason, for people. */
export type Probed<Value> =
  | { readonly kind: 'found'; readonly value: Value }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface EffectParts<Value> {
  /** What is about to be done, in words and digests. */
  readonly intent: JsonObject;
  readonly probe: () => Promise<Probed<Value>>;
  readonly act: () => Promise<Value>;
}

/** Windows of rate limits are not known, so a few tries are all that it gets (protocol section 6). */
const RATE_LIMITED_STARTS = 4;

/**
 * Does `act` once for this step of this round, or adopts what an earlier try did. Throws EFFECT_UNKNOWN
 * when neither can be known; a refusal of `act` that says "it is there already" is settled by a look.
 */
export async function effect<Value>(
  context: StepContext,
  parts: EffectParts<Value>,
): Promise<Value> {
  const { evidence } = context.adapters;
  const { roundId, path } = context.call;
  const recorded = await evidence.readIntent(roundId, path);
  if (!context.firstAttempt || recorded !== null) {
    context.progress({ looking: 'whether it was done before' });
    const found = await look(parts);
    if (found !== null) return found.value;
  }
  if (recorded === null) {
    await evidence.writeIntent(roundId, path, {
      ...parts.intent,
      recordedAt: new Date().toISOString(),
    });
  }
  context.signal.throwIfAborted();
  try {
    return await parts.act();
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    if (error.code === 'COORDINATOR_CONFLICT') {
      const found = await look(parts);
      if (found !== null) return found.value;
    }
    throw toRetryRule(error, context.call.start);
  }
}

async function look<Value>({ probe }: EffectParts<Value>): Promise<{ value: Value } | null> {
  const probed = await probe();
  if (probed.kind !== 'unknown') return probed.kind === 'found' ? probed : null;
  throw new StepError(
    'EFFECT_UNKNOWN',
    `Whether it was done before cannot be known: ${probed.reason}`,
    {
      hint: 'It is not repeated. Look at the coordinator yourself, then start a new run if nothing was done.',
    },
  );
}

function toRetryRule(error: StepError, start: number): StepError {
  const options = { cause: error, ...(error.hint === undefined ? {} : { hint: error.hint }) };
  // The reply was lost to us, not the request.
  if (error.code === 'COORDINATOR_REPLY_TOO_LARGE') {
    return new StepError('COORDINATOR_UNAVAILABLE', error.message, options);
  }
  if (error.code === 'COORDINATOR_RATE_LIMITED' && start >= RATE_LIMITED_STARTS) {
    return new StepError('COORDINATOR_REFUSED', `${error.message} (try ${start})`, options);
  }
  return error;
}
