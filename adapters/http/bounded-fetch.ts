/**
 * One HTTP request with bounds, for every outside service alike.
 *
 * Invariants:
 * 1. No redirect is followed: a reply that asks for one is a failure.
 * 2. No more than `maxBodyBytes` of a reply are read, and no request lasts longer than `timeoutMs`.
 * 3. Plain http goes to loopback only.
 * 4. An aborted `signal` throws `signal.reason`; every other failure of the outside is an HttpFailure.
 */
import type { Readable } from 'node:stream';
import { rootCertificates } from 'node:tls';
import { Agent, request, type Dispatcher } from 'undici';
import { isAllowedScheme } from './allowed-url.js';

/**
 * What went wrong before there was a whole reply. `unreachable`: no connection, or it broke before the
 * reply was complete (the request may have been carried out all the same). `not_allowed`: nothing was sent.
 */
export type HttpFailureKind = 'unreachable' | 'timeout' | 'too_large' | 'redirect' | 'not_allowed';

/** No usable reply came. The message names the address without its query, and never a header. */
export class HttpFailure extends Error {
  readonly kind: HttpFailureKind;
  /** False when nothing of the request can have reached the other side: there never was a connection. */
  readonly sent: boolean;

  constructor(
    kind: HttpFailureKind,
    message: string,
    { cause, sent = true }: { cause?: unknown; sent?: boolean } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'HttpFailure';
    this.kind = kind;
    this.sent = sent && kind !== 'not_allowed';
  }
}

export interface BoundedRequest {
  /** `GET` when absent. */
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is; a stream needs a `content-length` header, else it is sent in chunks. */
  readonly body?: string | Uint8Array | Readable;
  /** Most bytes of the reply's body; more is `too_large`. */
  readonly maxBodyBytes: number;
  /** For the whole exchange: connecting, sending, headers and body. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** A further certificate authority to trust, as PEM text, beside those of Node. */
  readonly ca?: string;
  /** Takes the body piece by piece, for bodies too large to hold; `body` of the reply is then empty. */
  readonly onChunk?: (chunk: Buffer) => void;
  /** The body is not read, whatever it is. */
  readonly statusOnly?: true;
}

export interface BoundedReply {
  readonly status: number;
  /** Names in lower case; a header that came twice is joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** One request, one whole reply of any status but a redirect. Throws HttpFailure, or `signal.reason`. */
export async function boundedFetch(
  address: string,
  options: BoundedRequest,
): Promise<BoundedReply> {
  const url = assertAllowedUrl(address);
  options.signal?.throwIfAborted();
  const place = `${url.origin}${url.pathname}`;
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs);
  try {
    const reply = await request(url, {
      method: options.method ?? 'GET',
      headers: { 'accept-encoding': 'identity', ...options.headers },
      body: options.body ?? null,
      dispatcher: dispatcherFor(options.ca),
      signal: AbortSignal.any([
        deadline.signal,
        ...(options.signal === undefined ? [] : [options.signal]),
      ]),
      // A kept connection that the server has closed meanwhile fails as if a request had been lost.
      reset: true,
    });
    return await readReply(reply, place, options);
  } catch (error) {
    if (options.signal?.aborted === true) throw options.signal.reason;
    if (deadline.signal.aborted) {
      const seconds = options.timeoutMs / 1_000;
      throw new HttpFailure('timeout', `${place} did not answer within ${seconds} s.`, {
        cause: error,
      });
    }
    throw toHttpFailure(error, place);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The URL, when it may be used: https to anywhere, plain http to loopback only, no user or password in
 * it. Throws HttpFailure `not_allowed`.
 */
export function assertAllowedUrl(address: string): URL {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new HttpFailure('not_allowed', `"${address.slice(0, 200)}" is not a URL.`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new HttpFailure(
      'not_allowed',
      `The address of ${url.host} must not hold a user or a password.`,
    );
  }
  if (isAllowedScheme(url)) return url;
  throw new HttpFailure(
    'not_allowed',
    url.protocol === 'http:'
      ? `${url.origin} is plain http, which is allowed to loopback only.`
      : `${url.protocol.slice(0, -1)} addresses are not allowed, only https.`,
  );
}

const dispatchers = new Map<string, Agent>();

function dispatcherFor(ca: string | undefined): Agent {
  const key = ca ?? '';
  let agent = dispatchers.get(key);
  if (agent === undefined) {
    agent = new Agent({
      // Our own deadline rules; undici's timers would end an upload of hours.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: ca === undefined ? { timeout: 0 } : { timeout: 0, ca: [...rootCertificates, ca] },
    });
    dispatchers.set(key, agent);
  }
  return agent;
}

async function readReply(
  reply: Dispatcher.ResponseData,
  place: string,
  { maxBodyBytes, onChunk, statusOnly }: BoundedRequest,
): Promise<BoundedReply> {
  const headers = Object.fromEntries(
    Object.entries(reply.headers).map(([name, value]) => [
      name.toLowerCase(),
      Array.isArray(value) ? value.join(', ') : (value ?? ''),
    ]),
  );
  const status = reply.statusCode;
  // What is left of a body that is not wanted is discarded with its connection; its error says nothing.
  reply.body.on('error', () => {});
  if (status >= 300 && status < 400 && status !== 304) {
    reply.body.destroy();
    const target = printable(headers['location'] ?? '');
    throw new HttpFailure(
      'redirect',
      `${place} answered ${status}, a redirect${target === '' ? '' : ` to ${target}`}; redirects are not followed.`,
    );
  }
  if (statusOnly === true) {
    reply.body.destroy();
    return { status, headers, body: Buffer.alloc(0) };
  }
  const declared = Number(headers['content-length'] ?? '0');
  if (declared > maxBodyBytes) {
    reply.body.destroy();
    throw tooLarge(place, `${declared} bytes`, maxBodyBytes);
  }
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of reply.body as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBodyBytes) throw tooLarge(place, 'more bytes', maxBodyBytes);
    if (onChunk === undefined) chunks.push(chunk);
    else onChunk(chunk);
  }
  return { status, headers, body: Buffer.concat(chunks) };
}

function tooLarge(place: string, what: string, maxBodyBytes: number): HttpFailure {
  return new HttpFailure(
    'too_large',
    `${place} answered with ${what}; at most ${maxBodyBytes} bytes are read.`,
  );
}

/** A header of a stranger as it may be printed. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200);
}

function toHttpFailure(error: unknown, place: string): unknown {
  if (!(error instanceof Error) || error instanceof HttpFailure) return error;
  // A parser error at the end of a broken connection carries no code.
  const code =
    (error as NodeJS.ErrnoException).code ??
    (error.name === 'HTTPParserError' ? 'HTTP' : undefined);
  if (code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new HttpFailure('too_large', `${place} answered with headers that are too large.`, {
      cause: error,
    });
  }
  // Without a code, or for an argument that undici refuses, the fault is ours.
  if (code === undefined || code === 'UND_ERR_INVALID_ARG') return error;
  const reason =
    CONNECTION_ERRORS[code] ??
    `${error.message === '' ? 'no connection' : error.message} (${code})`;
  return new HttpFailure('unreachable', `${place} cannot be reached: ${reason}.`, {
    cause: error,
    sent: !NEVER_CONNECTED.has(code),
  });
}

const NEVER_CONNECTED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);

const CONNECTION_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection is refused (ECONNREFUSED)',
  ECONNRESET: 'the connection was reset (ECONNRESET)',
  ENOTFOUND: 'its name has no address (ENOTFOUND)',
  EAI_AGAIN: 'its name cannot be looked up (EAI_AGAIN)',
  HTTP: 'what it sends is not a whole HTTP reply',
  UND_ERR_SOCKET: 'the connection closed before the whole reply had come',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the connection closed before the whole reply had come',
};
