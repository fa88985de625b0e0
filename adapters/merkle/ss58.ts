import { decodeAddress, encodeAddress } from '@polkadot/util-crypto/address';

/** Network prefix of Bittensor addresses; any other is another network's (merkle-claims section 1). */
const SS58_PREFIX = 42;

/**
 * The 32-byte account id of an SS58 address with prefix 42; null when it is not one: wrong
 * checksum, another network, another length, or not the one spelling that the account has.
 */
export function decodeAccount(address: string): Uint8Array | null {
  try {
    const account = decodeAddress(address, false, SS58_PREFIX);
    if (account.length !== 32) return null;
    // `decodeAddress` also takes a bare hex account id, which names no network.
    return encodeAddress(account, SS58_PREFIX) === address ? account : null;
  } catch {
    return null;
  }
}
