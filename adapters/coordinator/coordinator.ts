/**
 * The client of the coordinator (protocol sections 1, 2 and 6).
 *
 * Invariants:
 * 1. A signed request is sent byte for byte as it was signed, and signed immediately before it is sent.
 * 2. Nothing is repeated here but a request that was answered 401, once: such a request was not carried out.
 * 3. Every reply is bounded, and whatever is wrong with it is a StepError.
 * 4. All requests pass one gate, and none is signed with a clock that the coordinator is known to refuse.
 */
import type { Sending } from '../../core/effect-record.js';
import { StepError } from '../../core/error.js';
import { isNestedTooDeeply } from '../../core/json-depth.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';
import { plainText } from '../../core/plain-text.js';
import { boundedFetch, HttpFailure, type BoundedReply } from '../http/bounded-fetch.js';
import type { Settings } from '../settings/settings.js';
import type { Wallet } from '../wallet/wallet.js';
import { canonicalBody } from './canonical-json.js';
import {
  toClaim,
  toSubmission,
  toTask,
  type ClaimRecord,
  type SubmissionRecord,
  type TaskRecord,
  type Unreadable,
} from './records.js';
import { failureError, isHtml, refusalError, unreadableError } from './reply-error.js';
import { createRequestGate } from './request-gate.js';
import { clockOffset, createServerClock, skewOf } from './server-clock.js';
import { formEncode, signedHeaders, signedMessage, timestampText } from './signing.js';

/** The body of a submission (protocol 2.6); an absent member is left out, never null. */
export type SubmissionBody = {
  claim_id: string;
  /** The full commit that the patch applies to. */
  base_ref: string;
  patch: string;
  summary: string;
  claimed_metrics: { [name: string]: number };
  proposed_idea?: string;
  implemented_submission_id?: string;
  artifact_uri?: string;
  artifact_sha256?: string;
  artifact_size_bytes?: number;
};

/** A submission on the task by another hotkey that names one of our claims. */
interface ForeignSubmission {
  readonly id: string;
  readonly claimId: string;
  readonly hotkey: string;
}

export interface Coordinator {
  /** The configured base URL, without a slash at its end. Throws SETTING_MISSING, SETTING_INVALID. */
  baseUrl(): string;
  /**
   * Milliseconds since the epoch by the coordinator's clock where its last replies showed it behind ours; otherwise by
   * ours. A signature that is too old by then is refused for good.
   */
  earliestMs(): number;
  /**
   * Asks for the task list. `clockOffsetMs`: how far the coordinator's clock is ahead of ours, by its
   * `Date` header; null when it sends none.
   */
  reach(signal: AbortSignal): Promise<{ clockOffsetMs: number | null }>;
  /** The task with this slug, compared without case; null when there is none. `liveSlugs` for messages. */
  findTask(
    slug: string,
    signal: AbortSignal,
  ): Promise<{ task: TaskRecord | null; liveSlugs: string[] }>;
  /** The onboarding page's bytes; by the task's own `onboardPath` when that is a plain path. */
  onboarding(
    task: { id: string; onboardPath?: string | undefined },
    signal: AbortSignal,
  ): Promise<Buffer>;
  /** All claims of our hotkey on a task, oldest first. Throws when one of the list cannot be attributed. */
  ownClaims(taskId: string, signal: AbortSignal): Promise<ClaimRecord[]>;
  claim(
    taskId: string,
    description: string,
    signal: AbortSignal,
    sending?: Sending,
  ): Promise<ClaimRecord>;
  cancelClaim(claimId: string, signal: AbortSignal, sending?: Sending): Promise<void>;
  /**
   * All submissions of our hotkey on a task, oldest first, and what others have submitted on these claims. Throws when
   * one of the list cannot be attributed.
   */
  submissionsOn(
    taskId: string,
    claimIds: readonly string[],
    signal: AbortSignal,
  ): Promise<{ own: SubmissionRecord[]; foreign: ForeignSubmission[] }>;
  /** The submissions of other hotkeys on a task that carry an idea (protocol 2.10), whatever their status. */
  foreignIdeas(taskId: string, signal: AbortSignal): Promise<SubmissionRecord[]>;
  submission(submissionId: string, signal: AbortSignal): Promise<SubmissionRecord>;
  /** The detail with its verifications, as served: its members are not all known (protocol 2.7). */
  submissionDetail(submissionId: string, signal: AbortSignal): Promise<JsonObject>;
  submit(body: SubmissionBody, signal: AbortSignal, sending?: Sending): Promise<SubmissionRecord>;
}

const LIST_BYTES = 32 * 1024 * 1024;
const OBJECT_BYTES = 4 * 1024 * 1024;
const PAGE_BYTES = 1024 * 1024;
/** As the public client (protocol 2.3). */
const TIMEOUT_MS = 30_000;

interface Call {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly query?: string;
  readonly body?: Json;
  readonly maxBodyBytes: number;
  readonly signal: AbortSignal;
  readonly sending?: Sending | undefined;
}

/** `timeoutMs` bounds each request. The wallet is asked for at the first signed request or own list. */
export function createCoordinator(
  settings: Pick<Settings, 'coordinatorUrl'>,
  wallet: Pick<Wallet, 'address' | 'sign'>,
  { timeoutMs = TIMEOUT_MS }: { timeoutMs?: number } = {},
): Coordinator {
  const gate = createRequestGate();
  const clock = createServerClock();

  function baseUrl(): string {
    if (settings.coordinatorUrl === null) {
      throw new StepError('SETTING_MISSING', 'No coordinator is set.', {
        hint: 'Set ADIT_COORDINATOR_URL, for example to https://autoresearch.bitsota.com.',
      });
    }
    if (/[?#]/.test(settings.coordinatorUrl)) {
      throw new StepError(
        'SETTING_INVALID',
        `The coordinator's address ${settings.coordinatorUrl.replace(/[?#].*$/s, '')} has a query.`,
        {
          hint: 'Set ADIT_COORDINATOR_URL to the base URL alone.',
        },
      );
    }
    return settings.coordinatorUrl.replace(/\/+$/, '');
  }

  async function send(
    call: Call,
    headers: Record<string, string>,
    body?: string,
  ): Promise<BoundedReply> {
    const query = call.query === undefined || call.query === '' ? '' : `?${call.query}`;
    try {
      const reply = await boundedFetch(`${baseUrl()}${call.path}${query}`, {
        method: call.method,
        headers,
        ...(body === undefined ? {} : { body }),
        maxBodyBytes: call.maxBodyBytes,
        timeoutMs,
        signal: call.signal,
      });
      clock.note(reply);
      tellGate(call, reply);
      return reply;
    } catch (error) {
      if (!(error instanceof HttpFailure)) throw error;
      const failure = failureError(nameOf(call), error);
      if (failure.code === 'COORDINATOR_UNAVAILABLE') gate.outage(failure.message);
      else gate.answered();
      if (!error.sent) call.sending?.neverSent();
      throw failure;
    }
  }

  function tellGate(call: Call, reply: BoundedReply): void {
    if (reply.status < 400) return gate.answered();
    const { code, message, retryAfterMs } = refusalError(nameOf(call), reply, Date.now());
    if (retryAfterMs !== undefined) gate.rateLimited(message, retryAfterMs);
    else if (code === 'COORDINATOR_UNAVAILABLE') gate.outage(message);
    else gate.answered();
  }

  async function sendPublic(call: Call): Promise<BoundedReply> {
    const headers = { Accept: 'application/json, text/markdown' };
    return acceptable(call, await gate.pass(() => send(call, headers), call.signal));
  }

  async function sendSigned(call: Call): Promise<BoundedReply> {
    const hotkey = await wallet.address();
    const body = canonicalBody(call.body);
    const attempt = async (): Promise<BoundedReply> => {
      clock.assertClose(nameOf(call));
      const signedAtMs = Date.now();
      // With the time of the signature on the disk, the moment after which it is refused is known for good.
      await call.sending?.begin(signedAtMs);
      const parts = {
        ...call,
        query: call.query ?? '',
        body,
        timestamp: timestampText(signedAtMs),
      };
      const signature = await wallet.sign(signedMessage(parts)).catch((error: unknown) => {
        call.sending?.neverSent();
        throw error;
      });
      const headers = { Accept: 'application/json', ...signedHeaders(hotkey, parts, signature) };
      return send(call, headers, call.body === undefined ? undefined : body.text);
    };
    let reply = await gate.pass(attempt, call.signal);
    if (reply.status !== 401) return acceptable(call, reply);
    const skew = skewOf(nameOf(call), reply);
    if (skew !== null) throw skew;
    reply = await gate.pass(attempt, call.signal);
    if (reply.status !== 401) return acceptable(call, reply);
    throw refusalError(nameOf(call), reply, Date.now());
  }

  async function list<Item>(
    call: Omit<Call, 'method' | 'maxBodyBytes'>,
    wanted: (raw: JsonObject) => boolean,
    read: (raw: JsonObject) => Item | Unreadable,
  ): Promise<Item[]> {
    const get: Call = { ...call, method: 'GET', maxBodyBytes: LIST_BYTES };
    const reply = await sendPublic(get);
    if (/;\s*rel="?next"?/i.test(reply.headers['link'] ?? '')) {
      throw unreadableError(nameOf(get), reply, 'a list of which it is only one page');
    }
    return toObjects(get, reply)
      .filter(wanted)
      .map((raw) => assertReadable(get, reply, read(raw)));
  }

  async function signedObject<Item>(
    call: Omit<Call, 'method' | 'maxBodyBytes'>,
    read: (raw: JsonObject) => Item | Unreadable,
  ): Promise<Item> {
    const post: Call = { ...call, method: 'POST', maxBodyBytes: OBJECT_BYTES };
    const reply = await sendSigned(post);
    return assertReadable(post, reply, read(toObject(post, reply)));
  }

  const getTasks = (signal: AbortSignal): Call => ({
    method: 'GET',
    path: '/api/v1/tasks',
    maxBodyBytes: LIST_BYTES,
    signal,
  });

  return {
    baseUrl,

    earliestMs: () => clock.earliestMs(),

    async reach(signal) {
      const call = getTasks(signal);
      const sentAt = Date.now();
      const reply = await sendPublic(call);
      toObjects(call, reply);
      return { clockOffsetMs: clockOffset(reply, (sentAt + Date.now()) / 2) };
    },

    async findTask(slug, signal) {
      const call = getTasks(signal);
      const reply = await sendPublic(call);
      const tasks = toObjects(call, reply);
      // A task that is not asked for may be of a kind that we cannot read.
      const raw = tasks.find((task) => String(task['slug']).toLowerCase() === slug.toLowerCase());
      const live = tasks.filter(
        (task) => task['task_state'] === 'live' && task['is_active'] === true,
      );
      return {
        task: raw === undefined ? null : assertReadable(call, reply, toTask(raw)),
        liveSlugs: live.map((task) => task['slug']).filter((text) => typeof text === 'string'),
      };
    },

    async onboarding({ id, onboardPath }, signal) {
      const own =
        onboardPath !== undefined && /^(?:\/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$/.test(onboardPath);
      const call: Call = {
        method: 'GET',
        path: own ? onboardPath : `/api/v1/tasks/${segment(id)}/onboard.md`,
        maxBodyBytes: PAGE_BYTES,
        signal,
      };
      return (await sendPublic(call)).body;
    },

    async ownClaims(taskId, signal) {
      const call = { path: '/api/v1/claims', query: formEncode([['task_id', taskId]]), signal };
      const claims = await list(call, await ownOn(taskId), toClaim);
      return claims.sort((a, b) => a.known.created_at - b.known.created_at);
    },

    claim: (taskId, description, signal, sending) =>
      signedObject(
        {
          path: `/api/v1/tasks/${segment(taskId)}/claim`,
          body: { claim_description: description },
          signal,
          sending,
        },
        toClaim,
      ),

    async cancelClaim(claimId, signal, sending) {
      const path = `/api/v1/claims/${segment(claimId)}/cancel`;
      await sendSigned({ method: 'POST', path, maxBodyBytes: OBJECT_BYTES, signal, sending });
    },

    submissionsOn,

    async foreignIdeas(taskId, signal) {
      const hotkey = await wallet.address();
      const call = {
        path: '/api/v1/submissions',
        query: formEncode([['task_id', taskId]]),
        signal,
      };
      const carriesIdea = (raw: JsonObject): boolean =>
        (raw['task_id'] === taskId || typeof raw['task_id'] !== 'string') &&
        raw['miner_hotkey'] !== hotkey &&
        typeof raw['proposed_idea'] === 'string' &&
        raw['proposed_idea'].trim() !== '';
      return list(call, carriesIdea, toSubmission);
    },

    async submission(submissionId, signal) {
      const path = `/api/v1/submissions/${segment(submissionId)}`;
      const call: Call = { method: 'GET', path, maxBodyBytes: OBJECT_BYTES, signal };
      const reply = await sendPublic(call);
      return assertReadable(call, reply, toSubmission(toObject(call, reply)));
    },

    async submissionDetail(submissionId, signal) {
      const path = `/api/v1/submissions/${segment(submissionId)}/detail`;
      const call: Call = { method: 'GET', path, maxBodyBytes: OBJECT_BYTES, signal };
      return toObject(call, await sendPublic(call));
    },

    submit: (body, signal, sending) =>
      signedObject({ path: '/api/v1/submissions', body, signal, sending }, toSubmission),
  };

  async function submissionsOn(
    taskId: string,
    claimIds: readonly string[],
    signal: AbortSignal,
  ): Promise<{ own: SubmissionRecord[]; foreign: ForeignSubmission[] }> {
    const call = { path: '/api/v1/submissions', query: formEncode([['task_id', taskId]]), signal };
    const hotkey = await wallet.address();
    const isOwn = await ownOn(taskId);
    const foreign: ForeignSubmission[] = [];
    const own = await list(
      call,
      (raw) => {
        const { id, claim_id: claimId, miner_hotkey: miner } = raw;
        if (typeof claimId !== 'string' || !claimIds.includes(claimId)) return isOwn(raw);
        if (miner !== hotkey) {
          foreign.push({
            id: plainText(String(id), 128),
            claimId,
            hotkey: plainText(String(miner), 64),
          });
        }
        // On our claim it is ours, whatever it says of its task.
        return miner === hotkey || isOwn(raw);
      },
      toSubmission,
    );
    own.sort((a, b) => (a.known.created_at ?? 0) - (b.known.created_at ?? 0));
    return { own, foreign };
  }

  /** Ours, or of nobody that can be told: then reading it fails, and the list is not taken for complete. */
  async function ownOn(taskId: string): Promise<(raw: JsonObject) => boolean> {
    const hotkey = await wallet.address();
    return (raw) => {
      const foreign = typeof raw['miner_hotkey'] === 'string' && raw['miner_hotkey'] !== hotkey;
      const elsewhere = typeof raw['task_id'] === 'string' && raw['task_id'] !== taskId;
      return !foreign && !elsewhere;
    };
  }
}

function nameOf(call: Call): string {
  return `${call.method} ${call.path}`;
}

function acceptable(call: Call, reply: BoundedReply): BoundedReply {
  if (reply.status >= 400) throw refusalError(nameOf(call), reply, Date.now());
  if (isHtml(reply)) throw unreadableError(nameOf(call), reply, 'an HTML page');
  return reply;
}

function parseJson(call: Call, reply: BoundedReply): unknown {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(reply.body));
  } catch {
    throw unreadableError(nameOf(call), reply, `${reply.body.length} bytes that are no whole JSON`);
  }
  if (!isNestedTooDeeply(value)) return value;
  throw unreadableError(nameOf(call), reply, 'JSON that is nested too deeply');
}

function toObject(call: Call, reply: BoundedReply): JsonObject {
  const value = parseJson(call, reply);
  if (!isJsonObject(value))
    throw unreadableError(nameOf(call), reply, 'JSON that is not an object');
  return value;
}

function toObjects(call: Call, reply: BoundedReply): JsonObject[] {
  const value = parseJson(call, reply);
  if (!Array.isArray(value) || !value.every(isJsonObject)) {
    throw unreadableError(nameOf(call), reply, 'JSON that is not a list of objects');
  }
  return value;
}

function assertReadable<Item>(call: Call, reply: BoundedReply, item: Item | Unreadable): Item {
  if (isUnreadable(item)) throw unreadableError(nameOf(call), reply, item.problem);
  return item;
}

function isUnreadable(item: unknown): item is Unreadable {
  return typeof item === 'object' && item !== null && 'problem' in item;
}

/** An id as one segment of a path: it came from outside, and may not lead elsewhere. */
function segment(id: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(id)) return id;
  throw new StepError('STEP_INPUT_INVALID', `"${id.slice(0, 80)}" is no id of the coordinator.`);
}
