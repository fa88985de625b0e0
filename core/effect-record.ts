/**
 * The audit of one effect: what was meant, each request, each look and what settled it (design section 6). Kept in the
 * evidence folder by round and step path; never holds a header or a key.
 */
import type { Json, JsonObject } from './json.js';

export const EFFECT_RECORD_VERSION = 1;

export interface EffectRecord {
  readonly version: typeof EFFECT_RECORD_VERSION;
  readonly roundId: string;
  readonly stepPath: string;
  /** `claim`, `submission`, `claim cancellation`, `publication`. */
  readonly what: string;
  /** Address of the hotkey that acts; empty when none does. */
  readonly hotkey: string;
  /** What is about to be done, in words and digests. */
  readonly intent: JsonObject;
  /** SHA-256 of what is sent, lower-case hex. */
  readonly sentSha256: string;
  readonly recordedAt: string;
  /** A request may have been sent without a try being recorded here, at the latest then; absent: none was. */
  readonly unseenUntil?: string;
  readonly tries: readonly EffectTry[];
  readonly probes: readonly EffectProbe[];
  /** Something that must not be: a second claim, a stored submission that differs. */
  readonly alarms: readonly string[];
  /** Absent while it is open. */
  readonly settled?: EffectSettlement;
}

/** One time that the request was about to be sent; without an outcome: the worker died, or the reply never came. */
export interface EffectTry {
  readonly runId: string;
  readonly start: number;
  readonly attempt: number;
  /** Written before the request is sent; ISO 8601, UTC. */
  readonly sentAt: string;
  /** What this try was about, where that is not the record's intent. */
  readonly about?: JsonObject;
  readonly endedAt?: string;
  /** `refused`: certainly not carried out. `conflict`: refused because something is there already. */
  readonly outcome?: 'done' | 'refused' | 'conflict' | 'unclear';
  /** Error code and message, or ids of what was made. */
  readonly evidence?: Json;
}

export interface EffectProbe {
  readonly at: string;
  readonly result: 'found' | 'absent' | 'unknown';
  /** Why, for people. */
  readonly reason?: string;
  readonly evidence?: Json;
}

export interface EffectSettlement {
  readonly at: string;
  /** By the reply to the request, by a look, or by a refusal that is final. */
  readonly by: 'reply' | 'probe' | 'refusal';
  readonly evidence: Json;
}

/** Told about the sending of a request that changes something, so that it is recorded before. */
export interface Sending {
  /**
   * Awaited right before each sending, with the time by which the other side judges the request (its signature's), in
   * milliseconds since the epoch. What it throws ends the request, unsent.
   */
  begin(signedAtMs: number): Promise<void>;
  /** Nothing of it left this machine after all. */
  neverSent(): void;
}
