/** What the coordinator's refusals mean: each row of protocol section 6 as a StepError. */
import { isNestedTooDeeply } from '../../core/json-depth.js';
import { isJsonObject } from '../../core/json.js';
import { plainText } from '../../core/plain-text.js';
import { StepError, type StepErrorCode } from '../../core/error.js';
import type { BoundedReply, HttpFailure, HttpFailureKind } from '../http/bounded-fetch.js';

/** Wait after a 429 that names no time: windows are not known (protocol 7.2), so minutes. */
const RATE_LIMIT_WAIT_MS = 120_000;
const MAX_RATE_LIMIT_WAIT_MS = 3_600_000;

const FAILURES = {
  unreachable: {
    code: 'COORDINATOR_UNAVAILABLE',
    hint: 'Check ADIT_COORDINATOR_URL and the network; `adit doctor` looks at both.',
  },
  timeout: {
    code: 'COORDINATOR_UNAVAILABLE',
    hint: 'Check ADIT_COORDINATOR_URL and the network; `adit doctor` looks at both.',
  },
  too_large: {
    code: 'COORDINATOR_REPLY_TOO_LARGE',
    hint: 'Check that ADIT_COORDINATOR_URL is the coordinator.',
  },
  redirect: {
    code: 'COORDINATOR_REDIRECTED',
    hint: 'Set ADIT_COORDINATOR_URL to the address that answers itself.',
  },
  not_allowed: {
    code: 'SETTING_INVALID',
    hint: 'Correct ADIT_COORDINATOR_URL: https, or plain http to this machine.',
  },
} as const satisfies Record<HttpFailureKind, { code: StepErrorCode; hint: string }>;

/** The error for a request that got no usable reply. `what` names the request, `GET /api/v1/tasks`. */
export function failureError(what: string, failure: HttpFailure): StepError {
  const { code, hint } = FAILURES[failure.kind];
  return new StepError(code, `${what}: ${failure.message}`, { hint, cause: failure });
}

/** The error for a whole reply with a status of 400 or more. A 401 means that it was not carried out. */
export function refusalError(what: string, reply: BoundedReply, nowMs: number): StepError {
  const { status } = reply;
  const body = parseBody(reply);
  const detail = detailText(body, reply);
  const said = `${what} was answered ${status}${detail === '' ? '.' : `: ${detail}`}`;
  if (errorName(body) === 'insufficient_miner_stake') {
    return new StepError('STAKE_INSUFFICIENT', `The hotkey lacks stake on SN94. ${said}`, {
      hint: 'Fund or bond this hotkey, then let the step go on with `adit decide`. Do not rotate keys: another hotkey would not own this work.',
    });
  }
  if (status === 401) {
    return new StepError(
      'COORDINATOR_UNAUTHORIZED',
      `The coordinator refuses the signature. ${said}`,
      {
        hint: 'Check that the hotkey is the one meant, and that this is the coordinator.',
      },
    );
  }
  if (status === 403) {
    return new StepError('COORDINATOR_FORBIDDEN', said, {
      hint: 'The hotkey does not own the object, or a gate of the coordinator keeps it out; ask its operator, then answer with `adit decide`.',
    });
  }
  if (status === 404 || status === 410) {
    return new StepError('COORDINATOR_NOT_FOUND', said, {
      hint: 'The catalogue may have been reseeded, or the task closed; `adit run` again reads it anew.',
    });
  }
  if (status === 429) {
    return new StepError('COORDINATOR_RATE_LIMITED', said, {
      hint: 'Wait; fewer runs at one time help.',
      retryAfterMs: retryAfterMs(reply.headers['retry-after'], nowMs),
    });
  }
  if (
    status === 409 ||
    (status < 500 && status !== 422 && /\b(duplicate|already)\b/i.test(detail))
  ) {
    return new StepError('COORDINATOR_CONFLICT', said, {
      hint: 'The same thing may exist already; `adit show` has what the coordinator holds.',
    });
  }
  if (status >= 500 || status === 408) {
    return new StepError('COORDINATOR_UNAVAILABLE', said, {
      hint: 'The coordinator has a fault; try later.',
      ...(reply.headers['retry-after'] === undefined
        ? {}
        : { retryAfterMs: retryAfterMs(reply.headers['retry-after'], nowMs) }),
    });
  }
  return new StepError('COORDINATOR_REFUSED', said, {
    hint: 'A fault of this client or a change of the coordinator: please report it with the message.',
  });
}

/** The error for a reply of status 2xx that cannot be read. */
export function unreadableError(what: string, reply: BoundedReply, why: string): StepError {
  const start = plainText(reply.body.subarray(0, 800).toString('utf8'), 80);
  return new StepError(
    'COORDINATOR_REPLY_INVALID',
    `${what} was answered ${reply.status} with ${why}${start === '' ? '' : `; it begins "${start}"`}.`,
    {
      hint: 'Check that ADIT_COORDINATOR_URL is the coordinator and no proxy answers in its place.',
    },
  );
}

/** True for what is a web page, by its type or its first characters. */
export function isHtml(reply: BoundedReply): boolean {
  const type = reply.headers['content-type'] ?? '';
  return (
    /^text\/html\b/i.test(type) ||
    /^\s*<(!doctype html|html)\b/i.test(reply.body.toString('utf8', 0, 200))
  );
}

function parseBody(reply: BoundedReply): unknown {
  try {
    const body: unknown = JSON.parse(reply.body.toString('utf8'));
    return isNestedTooDeeply(body) ? null : body;
  } catch {
    return null;
  }
}

function errorName(body: unknown): unknown {
  if (!isJsonObject(body)) return null;
  return isJsonObject(body['detail']) ? body['detail']['error'] : body['error'];
}

/** The part for people, of whatever shape `detail` has (protocol 2.3), as one bounded line. */
function detailText(body: unknown, reply: BoundedReply): string {
  if (isHtml(reply)) return 'an HTML page';
  if (!isJsonObject(body)) return plainText(reply.body.subarray(0, 4_096).toString('utf8'), 200);
  const detail = body['detail'] ?? body['message'] ?? body['error'];
  if (typeof detail === 'string') return plainText(detail);
  if (Array.isArray(detail)) {
    const places = detail.slice(0, 10).map((item) => {
      if (!isJsonObject(item)) return JSON.stringify(item);
      const loc = Array.isArray(item['loc']) ? item['loc'].map(String).join('.') : '?';
      return `${loc}: ${String(item['msg'] ?? 'no message')}`;
    });
    return plainText(places.join('; '), 1_000);
  }
  if (isJsonObject(detail)) {
    const parts = [detail['error'], detail['message']].filter((part) => typeof part === 'string');
    return plainText(parts.length > 0 ? parts.join(': ') : JSON.stringify(detail));
  }
  return plainText(JSON.stringify(body));
}

/** `Retry-After` as seconds or as a date (RFC 9110 10.2.3). */
function retryAfterMs(header: string | undefined, nowMs: number): number {
  const text = header?.trim() ?? '';
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  if (!Number.isFinite(waitMs)) return RATE_LIMIT_WAIT_MS;
  return Math.min(Math.max(waitMs, 1_000), MAX_RATE_LIMIT_WAIT_MS);
}
