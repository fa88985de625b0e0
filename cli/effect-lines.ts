/** The audit of a round's effects, as `adit show` and `adit decide` tell it. */
import { createEvidence } from '../adapters/evidence/evidence.js';
import type { EffectProbe, EffectRecord, EffectTry } from '../core/effect-record.js';
import type { Json, JsonObject } from '../core/json.js';
import { clean } from './output.js';

/** The effects of a round, in the order in which they were first meant; empty where this machine has none. */
export async function effectsOf(
  roots: readonly string[],
  roundId: string,
): Promise<EffectRecord[]> {
  const found = await Promise.all(
    roots.map((root) =>
      createEvidence(root)
        .readEffects(roundId)
        .catch(() => []),
    ),
  );
  return found
    .flat()
    .sort((a, b) => (a.recordedAt < b.recordedAt ? -1 : a.recordedAt > b.recordedAt ? 1 : 0));
}

/** The effect of one step; null where this machine has none. */
export async function effectOf(
  roots: readonly string[],
  roundId: string,
  stepPath: string,
): Promise<EffectRecord | null> {
  for (const root of roots) {
    const record = await createEvidence(root)
      .readEffect(roundId, stepPath)
      .catch(() => null);
    if (record !== null) return record;
  }
  return null;
}

/** An effect as `--json` prints it; the shape is public (docs/cli.md). */
export function effectToJson(effect: EffectRecord): JsonObject {
  const { stepPath, what, hotkey, intent, sentSha256, recordedAt, tries, probes, alarms } = effect;
  return {
    key: { roundId: effect.roundId, step: stepPath },
    what,
    hotkey,
    intent,
    sentSha256,
    recordedAt,
    unseenUntil: effect.unseenUntil ?? null,
    tries: tries.map(({ runId, start, attempt, sentAt, endedAt, outcome, evidence }) => ({
      runId,
      start,
      attempt,
      sentAt,
      endedAt: endedAt ?? null,
      outcome: outcome ?? null,
      evidence: evidence ?? null,
    })),
    probes: probes.map(({ at, result, reason, evidence }) => ({
      at,
      result,
      reason: reason ?? null,
      evidence: evidence ?? null,
    })),
    settled:
      effect.settled === undefined
        ? null
        : {
            at: effect.settled.at,
            by: effect.settled.by,
            evidence: effect.settled.evidence,
          },
    alarms: [...alarms],
  };
}

/** An effect for people: what it is, then each try and probe in the order of time, what settled it, and alarms. */
export function effectLines(effect: EffectRecord): string[] {
  const { what, stepPath, tries, probes, settled, alarms, sentSha256 } = effect;
  const mayBeSent = tries.length > 0 || effect.unseenUntil !== undefined;
  const verb = mayBeSent || settled !== undefined ? 'sent' : 'to send';
  const digest = sentSha256 === '' ? '' : `, ${verb} ${sentSha256.slice(0, 12)}…`;
  const events = [
    ...tries.map((made) => ({ at: made.sentAt, text: tryWords(made) })),
    ...probes.map((probe) => ({ at: probe.at, text: probeWords(probe) })),
  ].sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const end =
    settled === undefined
      ? `  open: ${mayBeSent ? 'it is not known yet whether it happened' : 'nothing was sent so far'}`
      : `  settled ${shortTime(settled.at)} by ${settledBy(settled.by)}${evidenceWords(settled.evidence)}`;
  return [
    `${clean(what) || 'effect'} at ${clean(stepPath)}${digest}`,
    ...(effect.unseenUntil === undefined
      ? []
      : [
          `  until ${shortTime(effect.unseenUntil)} a request may have been sent without a record of it`,
        ]),
    ...events.map(({ at, text }) => `  ${shortTime(at)}  ${text}`),
    end,
    ...alarms.map((alarm) => `  ALARM: ${clean(alarm)}`),
  ];
}

function tryWords({ runId, start, attempt, outcome, evidence }: EffectTry): string {
  const which = `${clean(runId)}, start ${start}${attempt > 1 ? `, attempt ${attempt}` : ''}`;
  const end = outcome ?? 'no outcome: the worker died, or the reply never came';
  return `try of ${which}: ${end}${evidenceWords(evidence)}`;
}

function probeWords({ result, reason, evidence }: EffectProbe): string {
  const why = reason === undefined ? '' : ` (${clean(reason, 200)})`;
  return `look: ${result}${why}${evidenceWords(evidence)}`;
}

function settledBy(by: 'reply' | 'probe' | 'refusal'): string {
  return { reply: 'the reply', probe: 'a look', refusal: 'a refusal' }[by];
}

function evidenceWords(evidence: Json | undefined): string {
  if (evidence === undefined || evidence === null) return '';
  const text = typeof evidence === 'string' ? evidence : JSON.stringify(evidence);
  return `  ${clean(text, 160)}`;
}

function shortTime(at: string): string {
  return clean(at.slice(0, 19).replace('T', ' '), 20);
}
