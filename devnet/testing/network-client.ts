/** How the tests of the devnet talk to it: a key that signs, and plain requests. */
import {
  encodeAddress,
  randomAsU8a,
  sr25519PairFromSeed,
  sr25519Sign,
} from '@polkadot/util-crypto';
import { canonicalJson } from '../auth/canonical-json.js';
import { parseJson } from '../auth/json-numbers.js';
import { signedMessage } from '../auth/signature.js';

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body read as JSON with unknown members; null when it is not an object. */
  readonly json: Record<string, unknown>;
  readonly list: Record<string, unknown>[];
}

export interface Signer {
  readonly address: string;
  sign(message: Uint8Array): string;
  /** A signed request. `body` undefined sends none; `timestamp` in seconds, now by default. */
  call(
    base: string,
    method: string,
    path: string,
    body?: unknown,
    options?: { timestamp?: number; sentText?: string },
  ): Promise<Reply>;
}

/** A fresh sr25519 key, or that of a seed. */
export function createSigner(seed: Uint8Array = randomAsU8a(32)): Signer {
  const pair = sr25519PairFromSeed(seed);
  const address = encodeAddress(pair.publicKey, 42);
  const sign = (message: Uint8Array): string =>
    Buffer.from(sr25519Sign(message, pair)).toString('hex');
  return {
    address,
    sign,
    call: async (base, method, path, body, options = {}) => {
      const timestamp = String(options.timestamp ?? Math.floor(Date.now() / 1_000));
      const text = body === undefined ? '' : canonicalJson(parseJson(JSON.stringify(body)));
      const [pathOnly = '', query = ''] = path.split('?');
      const message = signedMessage({
        method,
        path: pathOnly,
        query,
        timestamp,
        canonicalBody: Buffer.from(text),
      });
      return send(base, method, path, options.sentText ?? (body === undefined ? undefined : text), {
        'x-hotkey': address,
        'x-timestamp': timestamp,
        'x-signature': sign(message),
      });
    },
  };
}

/** An operator's request. */
export async function asAdmin(
  base: string,
  token: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<Reply> {
  return send(base, method, path, body === undefined ? undefined : JSON.stringify(body), {
    'x-admin-token': token,
  });
}

/** A request without any signature. */
export async function get(base: string, path: string): Promise<Reply> {
  return send(base, 'GET', path, undefined, {});
}

async function send(
  base: string,
  method: string,
  path: string,
  body: string | undefined,
  headers: Record<string, string>,
): Promise<Reply> {
  const response = await fetch(`${base}${path}`, {
    method,
    redirect: 'manual',
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  const value = readJson(text);
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isRecord(value) ? value : {},
    list: Array.isArray(value) ? value.filter(isRecord) : [],
  };
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
