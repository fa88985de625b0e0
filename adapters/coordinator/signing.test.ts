import { readFileSync } from 'node:fs';
import { sr25519Verify } from '@polkadot/util-crypto/sr25519';
import { describe, expect, it } from 'vitest';
import type { Json } from '../../core/json.js';
import { canonicalBody } from './canonical-json.js';
import { formEncode, signedHeaders, signedMessage, timestampText } from './signing.js';

interface Vector {
  name: string;
  method: 'GET' | 'POST';
  path: string;
  query: string;
  timestamp: string;
  body: Json;
  has_body: boolean;
  canonical_body: string;
  body_sha256: string;
  message: string;
  signature_hex: string;
}

const vectors = JSON.parse(
  readFileSync(
    new URL('../../test/fixtures/coordinator/generated-signing-vectors.json', import.meta.url),
    'utf8',
  ),
) as { key: { public_key_hex: string; ss58_address_42: string }; requests: Vector[] };

describe.each(vectors.requests)('signing vector $name', (vector) => {
  const body = canonicalBody(vector.has_body ? vector.body : undefined);
  const parts = { ...vector, body };

  it('gives the canonical body, the message and the headers', () => {
    expect(body).toEqual({ text: vector.canonical_body, sha256: vector.body_sha256 });
    expect(new TextDecoder().decode(signedMessage(parts))).toBe(vector.message);
    const signature = Buffer.from(vector.signature_hex, 'hex');
    expect(signedHeaders(vectors.key.ss58_address_42, parts, signature)).toEqual({
      'X-Hotkey': vectors.key.ss58_address_42,
      'X-Timestamp': vector.timestamp,
      'X-Signature': vector.signature_hex,
      ...(vector.has_body ? { 'Content-Type': 'application/json' } : {}),
    });
  });

  it('is what the given signature signs', () => {
    const publicKey = Buffer.from(vectors.key.public_key_hex, 'hex');
    const signature = Buffer.from(vector.signature_hex, 'hex');
    expect(sr25519Verify(signedMessage(parts), signature, publicKey)).toBe(true);
    const later = { ...parts, timestamp: `${vector.timestamp}0` };
    expect(sr25519Verify(signedMessage(later), signature, publicKey)).toBe(false);
  });
});

describe('formEncode', () => {
  it('encodes as the signed query of the vectors', () => {
    const query = formEncode([
      ['task_id', '802f6eba-874e-43c4-b097-33a204684bf4'],
      ['status', 'pending_verification'],
      ['absent', undefined],
      ['note', 'a b&c/é'],
    ]);
    expect(query).toBe(
      vectors.requests.find(({ name }) => name === 'signed_get_with_query')?.query,
    );
  });

  it('leaves ~ bare and encodes *, unlike URLSearchParams', () => {
    expect(formEncode([['a', "~*'()!-_."]])).toBe('a=~%2A%27%28%29%21-_.');
  });
});

it('truncates the time to whole seconds', () => {
  expect(timestampText(1_782_329_943_999)).toBe('1782329943');
});
