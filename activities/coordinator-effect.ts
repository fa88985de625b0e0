/** What the effects at a coordinator share: which codes they fail with, and what each says about the request. */
import { createHash } from 'node:crypto';
import type { EffectRecord } from '../core/effect-record.js';
import { StepError, type StepErrorCode } from '../core/error.js';
import { isJsonObject } from '../core/json.js';
import type { Judgement } from './effect.js';
import type { SettleRule } from './effect-settling.js';
import type { StepContext } from './step-type.js';

/** What a signed request that changes something can fail with, and the effect around it. */
export const COORDINATOR_EFFECT_ERRORS = [
  'EFFECT_SETTLING',
  'EFFECTS_HELD',
  'EFFECT_UNKNOWN',
  'STAKE_INSUFFICIENT',
  'CLOCK_SKEWED',
  'COORDINATOR_UNAVAILABLE',
  'COORDINATOR_REPLY_INVALID',
  'COORDINATOR_REPLY_TOO_LARGE',
  'COORDINATOR_REDIRECTED',
  'COORDINATOR_RATE_LIMITED',
  'COORDINATOR_UNAUTHORIZED',
  'COORDINATOR_FORBIDDEN',
  'COORDINATOR_NOT_FOUND',
  'COORDINATOR_CONFLICT',
  'COORDINATOR_REFUSED',
] as const satisfies readonly StepErrorCode[];

/** A status of 4xx is an answer of the coordinator itself: the request was not carried out (protocol section 6). */
const REFUSALS: ReadonlySet<StepErrorCode> = new Set([
  'STAKE_INSUFFICIENT',
  'CLOCK_SKEWED',
  'COORDINATOR_RATE_LIMITED',
  'COORDINATOR_UNAUTHORIZED',
  'COORDINATOR_FORBIDDEN',
  'COORDINATOR_NOT_FOUND',
  'COORDINATOR_REFUSED',
]);

export function judgeCoordinatorError({ code }: StepError): Judgement {
  if (code === 'COORDINATOR_CONFLICT') return 'conflict';
  return REFUSALS.has(code) ? 'refused' : 'unclear';
}

export function coordinatorSettleRule({ adapters }: StepContext): SettleRule {
  const { signatureWindowSeconds, coordinatorLagSeconds } = adapters.settings;
  return {
    windowMs: signatureWindowSeconds * 1_000,
    lagMs: coordinatorLagSeconds * 1_000,
    nowMs: () => adapters.coordinator.earliestMs(),
  };
}

/** SHA-256 of a canonical body; '' is a request without one. */
export function sha256Of(canonicalText: string): string {
  return createHash('sha256').update(canonicalText, 'utf8').digest('hex');
}

/** For a request that was sent: a reply that says nothing about it is a lost one, and the next try looks first. */
export function rethrowLostReply(error: unknown): never {
  const isLost =
    error instanceof StepError &&
    (error.code === 'COORDINATOR_REDIRECTED' || error.code === 'COORDINATOR_REPLY_TOO_LARGE');
  if (!isLost) throw error;
  const { message, hint } = error;
  throw new StepError('COORDINATOR_UNAVAILABLE', message, {
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

/** Windows of rate limits are not known, so a few tries are all that it gets (protocol section 6). */
const RATE_LIMITED_TRIES = 4;

/** The error as the interpreter should treat it. */
export async function toRetryRule(
  { adapters, call }: StepContext,
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof StepError)) return error;
  const options = { cause: error, ...(error.hint === undefined ? {} : { hint: error.hint }) };
  // The reply was lost to us, not the request.
  if (error.code === 'COORDINATOR_REPLY_TOO_LARGE') {
    return new StepError('COORDINATOR_UNAVAILABLE', error.message, options);
  }
  if (error.code !== 'COORDINATOR_RATE_LIMITED') return error;
  const tries = rateLimitedTries(await adapters.evidence.readEffect(call.roundId, call.path));
  if (tries < RATE_LIMITED_TRIES) return error;
  return new StepError('COORDINATOR_REFUSED', `${error.message} (${tries} times)`, options);
}

/** How many of the newest tries ended so, one after another. */
function rateLimitedTries(record: EffectRecord | null): number {
  const tries = (record?.tries ?? []).toReversed();
  const end = tries.findIndex(({ evidence = null }) => {
    return !isJsonObject(evidence) || evidence['code'] !== 'COORDINATOR_RATE_LIMITED';
  });
  return end === -1 ? tries.length : end;
}
