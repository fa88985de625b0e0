/**
 * A notice as an HTTP POST, signed as Standard Webhooks says: HMAC-SHA256 over `<id>.<timestamp>.<body>`, so that the
 * receiver can tell who sent it, that nothing was changed, and whether it has had it before.
 */
import { createHmac } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { Notice } from '../../core/notice.js';
import { boundedFetch, HttpFailure, type HttpFailureKind } from '../http/bounded-fetch.js';
import type { HookOutcome } from './notifier.js';

const TIMEOUT_MS = 15_000;
/** No longer than the pause that there would be without its wish. */
const LONGEST_WISH_MS = 10 * 60 * 1_000;
/** A shorter one could be guessed. */
const LEAST_SECRET_BYTES = 16;

export async function postWebhook(
  { url, secretFile }: { readonly url: string; readonly secretFile: string | null },
  notice: Notice,
  signal: AbortSignal,
): Promise<HookOutcome> {
  const key = secretFile === null ? null : await readSecret(secretFile);
  if (typeof key === 'string') return failed(key);
  const body = JSON.stringify(notice);
  const timestamp = String(Math.floor(Date.now() / 1_000));
  try {
    const { status, headers } = await boundedFetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'adit',
        'webhook-id': notice.id,
        'webhook-timestamp': timestamp,
        ...(key === null ? {} : { 'webhook-signature': sign(key, notice.id, timestamp, body) }),
      },
      body,
      // What it says besides is not read: it may be anything, and never end.
      maxBodyBytes: 0,
      statusOnly: true,
      timeoutMs: TIMEOUT_MS,
      signal,
    });
    if (status >= 200 && status < 300) return { kind: 'delivered' };
    return failed(`The webhook answered ${status}.`, wishOf(headers['retry-after']));
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    return failed(reasonOf(error));
  }
}

/** As Standard Webhooks has it: the version of the scheme, and the digest in base64. */
function sign(key: Buffer, id: string, timestamp: string, body: string): string {
  const digest = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return `v1,${digest}`;
}

/** The key of the signatures, or why there is none: `whsec_` and base64, or any other text as it is. */
async function readSecret(file: string): Promise<Buffer | string> {
  let text: string;
  try {
    // Reading a pipe or a device would wait for ever.
    if (!(await stat(file)).isFile()) return `${file}, of setting notifySecretFile, is no file.`;
    text = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    return `${file}, of setting notifySecretFile, cannot be read (${codeOf(error)}).`;
  }
  const key = text.startsWith('whsec_')
    ? Buffer.from(text.slice('whsec_'.length), 'base64')
    : Buffer.from(text, 'utf8');
  if (key.length >= LEAST_SECRET_BYTES) return key;
  return `${file}, of setting notifySecretFile, holds no secret of at least ${LEAST_SECRET_BYTES} bytes.`;
}

const REASONS: Readonly<Record<Exclude<HttpFailureKind, 'unreachable'>, string>> = {
  timeout: `The webhook did not answer within ${TIMEOUT_MS / 1_000} s.`,
  too_large: 'The webhook answered with too much.',
  redirect: 'The webhook answered with a redirect, which is not followed.',
  not_allowed: 'The address in notifyUrl is not allowed: https only, plain http to loopback only.',
};

/** The transport's own words name the address. */
function reasonOf(error: unknown): string {
  if (!(error instanceof HttpFailure)) return `The webhook could not be asked (${codeOf(error)}).`;
  if (error.kind !== 'unreachable') return REASONS[error.kind];
  return `The webhook cannot be reached (${codeOf(error.cause)}).`;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

/** `Retry-After` in seconds, the form that services use. */
function wishOf(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,6}$/.test(header)) return undefined;
  return Math.min(Number(header) * 1_000, LONGEST_WISH_MS);
}

function failed(reason: string, retryAfterMs?: number): HookOutcome {
  return { kind: 'failed', reason, ...(retryAfterMs ? { retryAfterMs } : {}) };
}
