import { createHash } from 'node:crypto';
import { blake2AsU8a } from '@polkadot/util-crypto/blake2';
import { keccakAsU8a } from '@polkadot/util-crypto/keccak';

/** The hash functions that the contract languages offer, each with a digest of 32 bytes. */
export const HASHES = ['blake2b-256', 'keccak-256', 'sha2-256'] as const;
export type HashName = (typeof HASHES)[number];

export const DIGEST_BYTES = 32;

const FUNCTIONS: { readonly [K in HashName]: (bytes: Uint8Array) => Uint8Array } = {
  'blake2b-256': (bytes) => blake2AsU8a(bytes, 256),
  'keccak-256': (bytes) => keccakAsU8a(bytes, 256),
  'sha2-256': (bytes) => createHash('sha256').update(bytes).digest(),
};

/** The 32-byte digest of `bytes`. Keccak is the original one of Ethereum, not SHA-3. */
export function hashBytes(name: HashName, bytes: Uint8Array): Uint8Array {
  return FUNCTIONS[name](bytes);
}
