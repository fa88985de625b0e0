/** How the record of an effect is begun and changed; each change is on the disk when it returns. */
import {
  EFFECT_RECORD_VERSION,
  type EffectRecord,
  type EffectSettlement,
  type EffectTry,
} from '../core/effect-record.js';
import { canonicalJson } from '../core/canonical-json.js';
import type { Json, JsonObject } from '../core/json.js';
import type { StepContext } from './step-type.js';

/** A probe of a step that waits for long would fill the disk; the first tell as much as the last. */
const MOST_PROBES = 100;

interface Meant {
  readonly what: string;
  readonly hotkey: string;
  readonly intent: JsonObject;
  readonly sentSha256: string;
}

/**
 * The record of this step's effect, made where there is none; `mustLook`: a request may have been sent before. Its
 * `intent` is the very object given when this is what it was made for.
 */
export async function openRecord(
  { adapters, attempt, call, firstAttempt, scheduledAtMs }: StepContext,
  { what, hotkey, intent, sentSha256 }: Meant,
): Promise<{ record: EffectRecord; mustLook: boolean }> {
  const { roundId, path } = call;
  const known = await adapters.evidence.readEffect(roundId, path);
  if (known !== null && known.sentSha256 !== '') {
    const isSame =
      known.sentSha256 === sentSha256 && canonicalJson(known.intent) === canonicalJson(intent);
    const mustLook = known.tries.length > 0 || known.unseenUntil !== undefined;
    return { record: isSame ? { ...known, intent } : known, mustLook };
  }
  // An attempt before this one left nothing here: it died early, or it acted where the state folder is another.
  const isFirstSinceReset = call.reset === true && attempt === 1 && call.start === 1;
  const isUnseen = known !== null || !(firstAttempt || isFirstSinceReset);
  const isLaterRun = call.runId !== roundId || isFirstSinceReset;
  // What the run did before has ended long ago, and so has all that it sent; only a look is due.
  const unseenUntil = isUnseen ? new Date(scheduledAtMs) : isLaterRun ? new Date(0) : null;
  const record: EffectRecord = {
    version: EFFECT_RECORD_VERSION,
    roundId,
    stepPath: path,
    what,
    hotkey,
    intent: known?.intent ?? intent,
    sentSha256,
    recordedAt: known?.recordedAt ?? new Date().toISOString(),
    ...(unseenUntil === null
      ? {}
      : { unseenUntil: later(known?.unseenUntil, unseenUntil.toISOString()) }),
    tries: [],
    probes: [],
    alarms: [],
  };
  await adapters.evidence.writeEffect(record);
  return { record, mustLook: unseenUntil !== null };
}

function later(one: string | undefined, other: string): string {
  return one !== undefined && one > other ? one : other;
}

/** Changes what is on the disk now, not what was read long ago. */
export async function changeRecord(
  { adapters, call }: StepContext,
  change: (record: EffectRecord) => EffectRecord,
): Promise<EffectRecord> {
  const now = await adapters.evidence.readEffect(call.roundId, call.path);
  if (now === null) throw new Error(`The record of the effect of ${call.path} is gone.`);
  const changed = change(now);
  if (changed !== now) await adapters.evidence.writeEffect(changed);
  return changed;
}

export function withProbe(
  record: EffectRecord,
  probed: { kind: 'found' | 'absent' | 'unknown'; reason?: string },
  evidence?: Json,
): EffectRecord {
  const probe = {
    at: new Date().toISOString(),
    result: probed.kind,
    ...(probed.reason === undefined ? {} : { reason: probed.reason }),
    ...(evidence === undefined ? {} : { evidence }),
  };
  return { ...record, probes: [...record.probes, probe].slice(-MOST_PROBES) };
}

export function withEndedTry(
  record: EffectRecord,
  n: number,
  outcome: NonNullable<EffectTry['outcome']>,
  evidence: Json,
): EffectRecord {
  const endedAt = new Date().toISOString();
  return {
    ...record,
    tries: record.tries.map((made, at) =>
      at === n - 1 ? { ...made, endedAt, outcome, evidence } : made,
    ),
  };
}

export function withSettlement(
  record: EffectRecord,
  by: EffectSettlement['by'],
  evidence: Json,
): EffectRecord {
  return { ...record, settled: { at: new Date().toISOString(), by, evidence } };
}
