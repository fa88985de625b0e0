/** Who signed a request: the coordinator's reading of protocol 1.1 to 1.7. */
import { createHash } from 'node:crypto';
import { decodeAddress, encodeAddress, sr25519Verify } from '@polkadot/util-crypto';

/** SS58 network prefix of Bittensor addresses. */
const SS58_PREFIX = 42;

export interface SignedRequest {
  readonly method: string;
  /** As requested, without the query. */
  readonly path: string;
  /** Without `?`; empty when there is none. */
  readonly query: string;
  readonly timestamp: string;
  /** Canonical body, or no bytes when there was none. */
  readonly canonicalBody: Uint8Array;
}

/** The bytes that are signed (protocol 1.2). */
export function signedMessage(request: SignedRequest): Uint8Array {
  const bodyHash = createHash('sha256').update(request.canonicalBody).digest('hex');
  const fields = [
    'BT-AUTH-V1',
    request.method.toUpperCase(),
    request.path,
    request.query,
    request.timestamp,
    bodyHash,
  ];
  return Buffer.from(fields.join('\n'), 'utf8');
}

/** Public key of an SS58 address with prefix 42 in its one canonical spelling; null for any other text. */
export function publicKeyOf(address: string): Uint8Array | null {
  try {
    const publicKey = decodeAddress(address, false, SS58_PREFIX);
    return publicKey.length === 32 && encodeAddress(publicKey, SS58_PREFIX) === address
      ? publicKey
      : null;
  } catch {
    return null;
  }
}

/**
 * True when `signature`, 128 lowercase hex digits, is the sr25519 signature of `message` by the
 * key of `address`. No `<Bytes>` wrapping is tried. `cryptoWaitReady()` must have resolved.
 */
export function isSignedBy(address: string, message: Uint8Array, signature: string): boolean {
  const publicKey = publicKeyOf(address);
  if (publicKey === null || !/^[0-9a-f]{128}$/.test(signature)) return false;
  try {
    return sr25519Verify(message, Buffer.from(signature, 'hex'), publicKey);
  } catch {
    // The library throws for bytes that cannot be a signature at all.
    return false;
  }
}
