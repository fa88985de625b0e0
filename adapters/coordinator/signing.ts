/** Requests as the coordinator authenticates them: three headers over one message (protocol 1.1 to 1.5). */
import type { CanonicalBody } from './canonical-json.js';

export interface SignedParts {
  readonly method: 'GET' | 'POST';
  /** As requested, beginning with `/`, without host or query. */
  readonly path: string;
  /** Without `?`; empty when there is none. */
  readonly query: string;
  /** Unix time in whole seconds, decimal. */
  readonly timestamp: string;
  readonly body: CanonicalBody;
}

/** The bytes that the hotkey signs: six fields joined by line feeds (protocol 1.2). */
export function signedMessage({ method, path, query, timestamp, body }: SignedParts): Uint8Array {
  return new TextEncoder().encode(
    ['BT-AUTH-V1', method, path, query, timestamp, body.sha256].join('\n'),
  );
}

/** The headers of a signed request; `Content-Type` only when there is a body (protocol 1.1). */
export function signedHeaders(
  hotkey: string,
  { timestamp, body }: SignedParts,
  signature: Uint8Array,
): Record<string, string> {
  return {
    'X-Hotkey': hotkey,
    'X-Timestamp': timestamp,
    'X-Signature': Buffer.from(signature).toString('hex'),
    ...(body.text === '' ? {} : { 'Content-Type': 'application/json' }),
  };
}

/** Unix time in whole seconds, truncated (protocol 1.1). */
export function timestampText(nowMs: number): string {
  return String(Math.floor(nowMs / 1_000));
}

/** A query as Python encodes a form, in insertion order; absent values are dropped (protocol 1.5). */
export function formEncode(
  parameters: ReadonlyArray<readonly [string, string | undefined]>,
): string {
  return parameters
    .flatMap(([name, value]) =>
      value === undefined ? [] : [`${quotePlus(name)}=${quotePlus(value)}`],
    )
    .join('&');
}

function quotePlus(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%20/g, '+');
}
