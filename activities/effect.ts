/**
 * Effects on the outside happen once: look before you repeat (design section 6, docs/effects.md).
 *
 *   nothing tried ──────────────────────────────────────────► act
 *   tried, outcome not known ── look ── found ──────────────► adopt
 *                                 ├──── not there ── settled? ── yes ► act · no ► not yet
 *                                 └──── cannot know ─ settled? ── yes ► EFFECT_UNKNOWN: a person · no ► not yet
 *
 * Invariants:
 * 1. Each request is on the disk, with the time of its signature, before it is sent.
 * 2. Without a look it is sent only when none was sent before: by the round's first attempt, or with no try recorded.
 * 3. A look that shows nothing counts once no earlier request can arrive any more (`settledAtMs`).
 * 4. "Cannot know" never leads to a second act by itself: it goes to a person, whose "retry" looks again first.
 */
import {
  isStepErrorCode,
  NotYet,
  STEP_ERRORS,
  StepError,
  type StepErrorCode,
} from '../core/error.js';
import type { EffectRecord, EffectTry, Sending } from '../core/effect-record.js';
import { isJsonObject, type Json, type JsonObject } from '../core/json.js';
import {
  changeRecord,
  openRecord,
  withEndedTry,
  withProbe,
  withSettlement,
} from './effect-audit.js';
import { settledAtMs, settlesInMs, type SettleRule } from './effect-settling.js';
import type { StepContext } from './step-type.js';

/** What a look at the outside shows. A reason is for people. */
export type Probed<Value> =
  | { readonly kind: 'found'; readonly value: Value }
  /** `certain`: nothing that is still under way could be carried out either. */
  | { readonly kind: 'absent'; readonly certain?: boolean; readonly reason?: string }
  | { readonly kind: 'unknown'; readonly reason: string };

/** What a failed request did: `refused` and `conflict` were certainly not carried out. */
export type Judgement = 'refused' | 'conflict' | 'unclear';

export interface EffectParts<Value> {
  /** `claim`, `submission`, …: the same for all effects of a kind. */
  readonly what: string;
  /** Address of the hotkey that acts; empty when none does. */
  readonly hotkey: string;
  /** What is about to be done, in words and digests. */
  readonly intent: JsonObject;
  /** SHA-256 of what is sent, lower-case hex. */
  readonly sentSha256: string;
  readonly settle: SettleRule;
  /** A step that may not wait for a person longer than this, in milliseconds since the epoch. */
  readonly askUntilMs?: () => number | undefined;
  readonly probe: (record: EffectRecord) => Promise<Probed<Value>>;
  /** Does it, once: sends nothing without `begin`; checks that need the outside come before. */
  readonly act: (sending: Sending, record: EffectRecord) => Promise<Value>;
  readonly judge: (error: StepError) => Judgement;
  /** What shows, later and to others, that it was done: ids. */
  readonly evidence: (value: Value) => Json;
}

/** Between two looks while an effect settles. */
const LOOK_EVERY_MS = 30_000;
const HELD_EVERY_MS = 5_000;

/**
 * Does `act` once for this step of this round, or adopts what an earlier try did. Throws what `act` throws;
 * NotYet EFFECT_SETTLING while an earlier request may still arrive, NotYet EFFECTS_HELD while effects are held;
 * EFFECT_UNKNOWN when whether it was done cannot be known.
 */
export async function effect<Value>(
  context: StepContext,
  parts: EffectParts<Value>,
): Promise<Value> {
  const { record, mustLook } = await openRecord(context, parts);
  if (mustLook) {
    context.progress({ looking: 'whether it was done before' });
    const found = await look(context, parts, record);
    if (found !== null) return found.value;
    rethrowConflict(context, record);
  }
  await assertNotHeld(context);
  context.signal.throwIfAborted();
  return await act(context, parts, record);
}

/** Throws NotYet EFFECTS_HELD while a person holds all effects of this state folder. */
export async function assertNotHeld({ adapters, progress }: StepContext): Promise<void> {
  const hold = await adapters.evidence.readHold();
  if (hold === null) return;
  const why = hold.reason === '' ? '' : `: ${hold.reason}`;
  progress({ heldBy: hold.by, reason: hold.reason, since: hold.since });
  throw new NotYet(
    'EFFECTS_HELD',
    `All effects are held by ${hold.by} since ${hold.since}${why}.`,
    HELD_EVERY_MS,
  );
}

/** Something that must not be; kept with the effect and shown. */
export async function recordAlarm(context: StepContext, alarm: string): Promise<void> {
  context.progress({ alarm });
  await changeRecord(context, (record) =>
    record.alarms.includes(alarm) ? record : { ...record, alarms: [...record.alarms, alarm] },
  );
}

/** A look that is refused for good shows nothing; one that may be repeated is, as its error says. */
async function probe<Value>(
  parts: EffectParts<Value>,
  record: EffectRecord,
): Promise<Probed<Value>> {
  try {
    return await parts.probe(record);
  } catch (error) {
    if (!(error instanceof StepError) || STEP_ERRORS[error.code].retryable) throw error;
    return { kind: 'unknown', reason: `the look failed: ${error.message}` };
  }
}

/** What is found, or null when acting is safe. */
async function look<Value>(
  context: StepContext,
  parts: EffectParts<Value>,
  record: EffectRecord,
): Promise<{ value: Value } | null> {
  const probed = await probe(parts, record);
  await changeRecord(context, (now) =>
    probed.kind === 'found'
      ? withSettlement(
          withProbe(now, probed, parts.evidence(probed.value)),
          'probe',
          parts.evidence(probed.value),
        )
      : withProbe(now, probed),
  );
  if (probed.kind === 'found') return probed;
  if (probed.kind === 'absent' && probed.certain === true) return null;
  const untilMs = settledAtMs(record, parts.settle);
  const waitMs = settlesInMs(untilMs, parts.settle);
  if (waitMs > 0) {
    const until = new Date(untilMs).toISOString();
    const reason = probed.reason ?? 'it is not there.';
    context.progress({ settling: reason, until });
    throw new NotYet(
      'EFFECT_SETTLING',
      `An earlier request may still arrive until ${until}; so far ${reason}`,
      Math.min(waitMs, LOOK_EVERY_MS),
    );
  }
  if (probed.kind === 'absent') return null;
  const askUntilMs = parts.askUntilMs?.();
  throw new StepError(
    'EFFECT_UNKNOWN',
    `Whether it was done before cannot be known: ${probed.reason}`,
    {
      hint: 'It is not repeated by itself. Look at the other side, then say with `adit decide` how to go on: retry looks again first.',
      ...(askUntilMs === undefined ? {} : { askUntilMs }),
    },
  );
}

/** "It is there already" that no look has confirmed is a refusal, unless a new start was asked for meanwhile. */
function rethrowConflict({ call }: StepContext, { tries }: EffectRecord): void {
  const last = tries.at(-1);
  if (last?.outcome !== 'conflict' || last.runId !== call.runId || last.start !== call.start)
    return;
  const said = last.evidence ?? null;
  if (!isJsonObject(said) || !isStepErrorCode(String(said['code']))) return;
  throw new StepError(said['code'] as StepErrorCode, String(said['message']), {
    hint: 'The same thing may exist already, though not as one of ours; look at the other side.',
  });
}

async function act<Value>(
  context: StepContext,
  parts: EffectParts<Value>,
  record: EffectRecord,
): Promise<Value> {
  const { evidence } = context.adapters;
  const { runId, start } = context.call;
  let n = record.tries.length;
  let begun = false;
  let wasSent = true;
  const endTry = (outcome: NonNullable<EffectTry['outcome']>, shown: Json): Promise<EffectRecord> =>
    changeRecord(context, (now) => withEndedTry(now, n, outcome, shown));

  const sending: Sending = {
    async begin(signedAtMs) {
      context.signal.throwIfAborted();
      await assertNotHeld(context);
      // A second request of one act: the first was answered, and not carried out.
      if (begun) await endTry('refused', { repeated: true });
      const made: EffectTry = {
        runId,
        start,
        attempt: context.attempt,
        sentAt: new Date(signedAtMs).toISOString(),
        ...(record.intent === parts.intent
          ? {}
          : { about: { ...parts.intent, sentSha256: parts.sentSha256 } }),
      };
      if (!(await evidence.addEffectTry(record, n + 1, made))) {
        throw new NotYet('EFFECT_SETTLING', 'Another worker acts for this step.', 1_000);
      }
      n += 1;
      begun = true;
      wasSent = true;
    },
    neverSent() {
      wasSent = false;
    },
  };

  let value: Value;
  try {
    value = await parts.act(sending, record);
  } catch (error) {
    if (!begun || context.signal.aborted || !(error instanceof StepError)) throw error;
    const judgement = wasSent ? parts.judge(error) : 'refused';
    const said = { code: error.code, message: error.message, ...(wasSent ? {} : { sent: false }) };
    const ended = await endTry(judgement, said);
    if (judgement === 'conflict') {
      const found = await look(context, parts, ended);
      if (found !== null) return found.value;
    }
    if (judgement === 'refused' && !STEP_ERRORS[error.code].retryable) {
      await changeRecord(context, (now) => withSettlement(now, 'refusal', said));
    }
    throw error;
  }
  const shown = parts.evidence(value);
  if (begun) await endTry('done', shown);
  await changeRecord(context, (now) => withSettlement(now, begun ? 'reply' : 'probe', shown));
  return value;
}
