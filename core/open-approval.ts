/**
 * An approval that is being waited for: which answers count, and what they come to.
 *
 * Invariants:
 * 1. An answer counts only for what it names by its digest: all that is shown and asked.
 * 2. A person counts once, by the name that they give; names are self-asserted.
 * 3. Those who approve give equal fields: nobody approves an answer that is not theirs.
 * 4. One rejection decides, also where others have approved.
 */
import { isSameAnswer, printFields, readFields, type AnswerField } from './answer-fields.js';
import { jsonSizeBytes } from './json-size.js';
import type { Json, JsonObject } from './json.js';
import { plainText } from './plain-text.js';

/** What a person is shown and asked; the digest is that of its canonical JSON. */
export interface AskedApproval {
  readonly summary: string | null;
  readonly show: JsonObject;
  readonly fields: readonly AnswerField[];
}

/** Who said something, and when (ISO 8601, UTC). The name is what they said of themselves. */
interface Voice {
  readonly by: string;
  readonly at: string;
  readonly reason?: string;
}

/** How an approval stands; part of a step's state. */
export interface ApprovalState {
  /** SHA-256 of what is shown and asked, lower-case hex: answers are for this and nothing else. */
  readonly digest: string;
  /** How many different people must approve. */
  readonly quorum: number;
  /** Until when, ISO 8601, UTC: settled when it began. Absent: without end. */
  readonly expiresAt?: string;
  readonly approved: readonly Voice[];
  /** What those who approved have answered, alike. */
  readonly fields?: JsonObject;
  readonly rejected?: Voice;
}

/** An answer as it is sent. */
export interface ApprovalAnswer {
  readonly action: 'approve' | 'reject';
  readonly digest: string;
  readonly by: string;
  readonly fields?: JsonObject;
  readonly reason?: string;
}

/** Why an answer does not count, and the way out. */
export interface Refusal {
  readonly code: 'DECISION_INVALID' | 'APPROVAL_CHANGED';
  readonly message: string;
  readonly hint: string;
}

/** Longest name and reason, as JSON text, in bytes. */
const MAX_NAME_BYTES = 200;
const MAX_REASON_BYTES = 1_000;

export class OpenApproval {
  readonly path: string;
  readonly asked: AskedApproval;
  #state: ApprovalState;
  #isClosed = false;
  readonly #record: (state: ApprovalState) => void;

  /** `record` is called after each answer that counts, before anything else can happen. */
  constructor(
    path: string,
    asked: AskedApproval,
    state: ApprovalState,
    record: (state: ApprovalState) => void,
  ) {
    this.path = path;
    this.asked = asked;
    this.#state = state;
    this.#record = record;
  }

  get state(): ApprovalState {
    return this.#state;
  }

  /** Milliseconds since the epoch; null without end. */
  get expiresMs(): number | null {
    const { expiresAt } = this.#state;
    return expiresAt === undefined ? null : Date.parse(expiresAt);
  }

  /** True when nothing that comes now can change it. */
  get isOver(): boolean {
    const { approved, quorum, rejected } = this.#state;
    return this.#isClosed || rejected !== undefined || approved.length >= quorum;
  }

  /** From now on no answer counts. */
  close(): void {
    this.#isClosed = true;
  }

  /** Why an answer does not count; null when it does. What was sent may be anything. */
  problemOf(answer: { readonly [key: string]: unknown }, nowMs: number): Refusal | null {
    const { path } = this;
    const { approved, fields: said } = this.#state;
    const { action, digest, by, reason, fields } = answer;
    if (this.isOver || (this.expiresMs !== null && nowMs >= this.expiresMs))
      return invalid(`${path} no longer waits for approval.`, 'See what became of it in the run.');
    if (action !== 'approve' && action !== 'reject')
      return invalid('An answer says `approve` or `reject`.', 'Send one of the two.');
    if (typeof by !== 'string' || nameOf(by) === '' || jsonSizeBytes(by) > MAX_NAME_BYTES)
      return invalid(
        `An answer says whose it is, in at most ${MAX_NAME_BYTES} bytes.`,
        'Give a name.',
      );
    if (reason !== undefined && typeof reason !== 'string')
      return invalid('A reason is text.', 'Write one, or leave it out.');
    if (reason !== undefined && jsonSizeBytes(reason) > MAX_REASON_BYTES)
      return invalid(`A reason has at most ${MAX_REASON_BYTES} bytes.`, 'Write a shorter one.');
    if (digest !== this.#state.digest) return changed(path, digest, this.#state.digest);
    if (action === 'reject')
      return fields === undefined
        ? null
        : invalid('A rejection has no fields.', 'Leave them out, or say more in its reason.');
    if (approved.some((voice) => isSamePerson(voice.by, by)))
      return invalid(
        `${nameOf(by)} has approved ${path} already; a person counts once.`,
        `It has ${approved.length} of ${this.#state.quorum}; another person must approve.`,
      );
    const read = readFields(this.asked.fields, fields);
    if ('problem' in read)
      return invalid(
        read.problem,
        this.asked.fields.length === 0
          ? `${path} asks for no fields.`
          : `${path} asks for: ${printFields(this.asked.fields)}.`,
      );
    if (said !== undefined && !isSameAnswer(said, read.values))
      return invalid(
        `All who approve ${path} answer alike, and ${approved[0]?.by ?? 'another'} has answered ${clip(JSON.stringify(said))}.`,
        'Give the same fields, or reject it: a retry of the run asks anew.',
      );
    return null;
  }

  /** Counts an answer that has no problem. `at` is now, ISO 8601, UTC. */
  take({ action, by, reason, fields }: ApprovalAnswer, at: string): void {
    const voice: Voice = { by: nameOf(by), at, ...(reason === undefined ? {} : { reason }) };
    if (action === 'reject') this.#state = { ...this.#state, rejected: voice };
    else {
      const read = readFields(this.asked.fields, fields);
      this.#state = {
        ...this.#state,
        approved: [...this.#state.approved, voice],
        fields: 'values' in read ? read.values : {},
      };
    }
    this.#record(this.#state);
  }
}

/** What a step gives that was approved: the fields, and who approved what. */
export function approvalOutputs({ digest, approved, fields }: ApprovalState): JsonObject {
  const approvals: Json[] = approved.map(({ by, at, reason = '' }) => ({ by, at, reason }));
  return { ...fields, approvals, digest };
}

/** How it stands, for people. */
export function approvalNote({ approved, quorum, expiresAt }: ApprovalState): string {
  const count =
    quorum === 1
      ? ''
      : `, ${approved.length} of ${quorum}${approved.length === 0 ? '' : ` (${approved.map(({ by }) => by).join(', ')})`}`;
  return `waits for approval${count}${expiresAt === undefined ? '' : `, until ${expiresAt}`}`;
}

/** A name as it is shown: on one line, without what a terminal obeys. */
function nameOf(by: string): string {
  return plainText(by, MAX_NAME_BYTES);
}

/** Blanks around a name, its case and what is not seen of it make nobody another person. */
function isSamePerson(left: string, right: string): boolean {
  return nameOf(left).toLowerCase() === nameOf(right).toLowerCase();
}

function changed(path: string, given: unknown, digest: string): Refusal {
  if (typeof given !== 'string' || given === '')
    return invalid(
      `An answer for ${path} names what it is for by its digest.`,
      `What is shown has the digest ${digest}: look at it first.`,
    );
  return {
    code: 'APPROVAL_CHANGED',
    message: `The answer is for something else: it names the digest ${clip(given)}, and what ${path} shows and asks has ${digest}.`,
    hint: 'What is shown is not what was looked at. Look at it again, and answer with its digest.',
  };
}

function invalid(message: string, hint: string): Refusal {
  return { code: 'DECISION_INVALID', message, hint };
}

function clip(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}
