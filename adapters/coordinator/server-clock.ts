/** The coordinator's clock as its `Date` headers tell it, compared with ours. */
import { StepError } from '../../core/error.js';
import type { BoundedReply } from '../http/bounded-fetch.js';

/** Beyond this a signature is not trusted to our clock; the window is about 300 s (protocol 1.7). */
const TOLERANCE_MS = 60_000;
/** An older comparison says nothing: clocks are set. */
const MEMORY_MS = 600_000;
/** When our two clocks have run apart by more, ours was set or the machine slept. */
const OWN_DRIFT_MS = 2_000;
/** A `Date` of whole seconds and the way of a reply tell no better than this. */
const HEADER_EXACTNESS_MS = 2_000;

export interface ServerClock {
  note(reply: BoundedReply): void;
  /** Throws CLOCK_SKEWED when a signature made now would carry a time that the coordinator refuses. */
  assertClose(what: string): void;
  /** Its time, in milliseconds since the epoch, where it is known to be behind ours; ours otherwise. */
  earliestMs(): number;
}

export function createServerClock(): ServerClock {
  let seen: { offsetMs: number; wallMs: number; steadyMs: number } | null = null;

  /** How far it is ahead of ours; null when nothing recent tells. */
  function offset(): number | null {
    if (seen === null) return null;
    const wallAgeMs = Date.now() - seen.wallMs;
    const steadyAgeMs = performance.now() - seen.steadyMs;
    if (steadyAgeMs > MEMORY_MS || Math.abs(wallAgeMs - steadyAgeMs) > OWN_DRIFT_MS) return null;
    return seen.offsetMs;
  }

  return {
    note(reply) {
      const wallMs = Date.now();
      const offsetMs = clockOffset(reply, wallMs);
      seen = offsetMs === null ? seen : { offsetMs, wallMs, steadyMs: performance.now() };
    },
    assertClose(what) {
      const offsetMs = offset();
      if (offsetMs === null || Math.abs(offsetMs) <= TOLERANCE_MS) return;
      throw skewedError(`${what} was not sent`, offsetMs);
    },
    earliestMs() {
      const offsetMs = offset() ?? 0;
      return Date.now() + (offsetMs < -HEADER_EXACTNESS_MS ? offsetMs : 0);
    },
  };
}

/** The error for a reply of 401 that a skewed clock explains; null when it does not. */
export function skewOf(what: string, reply: BoundedReply): StepError | null {
  const offsetMs = clockOffset(reply, Date.now());
  if (offsetMs === null || Math.abs(offsetMs) <= TOLERANCE_MS) return null;
  return skewedError(`${what} was answered 401`, offsetMs);
}

/** How far the reply's `Date` is ahead of `ownMs`, in milliseconds; null without a usable one. */
export function clockOffset(reply: BoundedReply, ownMs: number): number | null {
  const theirs = Date.parse(reply.headers['date'] ?? '');
  if (Number.isNaN(theirs)) return null;
  // A cache keeps the `Date` of the reply that it has, and says how long ago that was (RFC 9111 5.1).
  const age = reply.headers['age'] ?? '';
  const ageMs = /^\d{1,9}$/.test(age) ? Number(age) * 1_000 : 0;
  // The header counts whole seconds, so on average half of one has passed.
  return theirs + ageMs + 500 - ownMs;
}

function skewedError(what: string, offsetMs: number): StepError {
  const seconds = Math.round(Math.abs(offsetMs) / 1_000);
  return new StepError(
    'CLOCK_SKEWED',
    `${what}, and our clock is ${seconds} s ${offsetMs > 0 ? 'behind' : 'ahead of'} the coordinator's.`,
    { hint: 'Set this machine’s clock (NTP); signatures are valid for about 300 s.' },
  );
}
