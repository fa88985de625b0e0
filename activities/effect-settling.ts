/** When an earlier request can no longer be carried out, so that a look which shows nothing counts. */
import type { EffectRecord } from '../core/effect-record.js';

/** Times of the other side, in milliseconds; zeros for what may be repeated freely. */
export interface SettleRule {
  /** For how long after `sentAt` it takes a request that is still on its way. */
  readonly windowMs: number;
  /** How late what it has stored may show. */
  readonly lagMs: number;
  /** The other side's clock, in milliseconds since the epoch; absent: ours. */
  readonly nowMs?: () => number;
}

/** Milliseconds since the epoch; 0 when no try can still have an effect that does not show. */
export function settledAtMs(record: EffectRecord, { windowMs, lagMs }: SettleRule): number {
  const arrivesUntil = (sentAt: string): number => Date.parse(sentAt) + windowMs + lagMs;
  const times = record.tries.map(({ outcome, sentAt, endedAt }) => {
    if (outcome === 'refused') return 0;
    if (outcome === undefined || outcome === 'unclear') return arrivesUntil(sentAt);
    // It was answered, so it is no longer on its way: what is there has only to show.
    return Date.parse(endedAt ?? sentAt) + lagMs;
  });
  return Math.max(
    0,
    ...times,
    record.unseenUntil === undefined ? 0 : arrivesUntil(record.unseenUntil),
  );
}

/** How long until then, in milliseconds; not positive when it is over. */
export function settlesInMs(untilMs: number, { nowMs = Date.now }: SettleRule): number {
  return untilMs - nowMs();
}

/** True when some request of this effect may have been, or may yet be, carried out. */
export function isPossiblyDone({ tries, unseenUntil }: EffectRecord): boolean {
  return unseenUntil !== undefined || tries.some(({ outcome }) => outcome !== 'refused');
}
