import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import {
  encodeAddress,
  mnemonicGenerate,
  mnemonicToMiniSecret,
  randomAsU8a,
  sr25519PairFromSeed,
} from '@polkadot/util-crypto';
import { writePrivately } from './home.js';

const SS58_PREFIX = 42;

/**
 * The address of the plain Bittensor hotkey file, which is made, readable by its owner alone, when
 * it is not there (protocol 1.9). For this network only: the file is not encrypted.
 */
export async function ensureHotkey(file: string): Promise<string> {
  if (existsSync(file)) return addressIn(file, await readFile(file, 'utf8'));
  const secretPhrase = mnemonicGenerate(12);
  const seed = mnemonicToMiniSecret(secretPhrase);
  const { publicKey } = sr25519PairFromSeed(seed);
  const publicHex = toHex(publicKey);
  const ss58Address = encodeAddress(publicKey, SS58_PREFIX);
  const key = {
    accountId: publicHex,
    publicKey: publicHex,
    secretPhrase,
    secretSeed: toHex(seed),
    ss58Address,
  };
  await writePrivately(file, `${JSON.stringify(key)}\n`);
  return ss58Address;
}

/** An address whose key nobody keeps: rewards of this network can go there, nothing can leave. */
export function makeAddress(): string {
  return encodeAddress(sr25519PairFromSeed(randomAsU8a(32)).publicKey, SS58_PREFIX);
}

function addressIn(file: string, text: string): string {
  const value: unknown = JSON.parse(text);
  if (
    typeof value === 'object' &&
    value !== null &&
    'ss58Address' in value &&
    typeof value.ss58Address === 'string'
  ) {
    return value.ss58Address;
  }
  throw new Error(`${file} is not a hotkey file`);
}

function toHex(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).toString('hex')}`;
}
