/** Signed requests of the validator (protocol 1.1, 1.2, 1.6), from a plain Bittensor hotkey file. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  cryptoWaitReady,
  encodeAddress,
  mnemonicToMiniSecret,
  sr25519PairFromSeed,
  sr25519Sign,
} from '@polkadot/util-crypto';

export interface Signer {
  /** SS58 address of the hotkey, network prefix 42. */
  readonly address: string;
  readonly sign: (message: Uint8Array) => Uint8Array;
}

const SS58_PREFIX = 42;

/** Opens a plain hotkey file: `secretPhrase` first, then `secretSeed`; the address must be the file's own. */
export async function openHotkey(file: string): Promise<Signer> {
  await cryptoWaitReady();
  const content: unknown = JSON.parse(await readFile(file, 'utf8'));
  const pair = sr25519PairFromSeed(miniSecret(content, file));
  const address = encodeAddress(pair.publicKey, SS58_PREFIX);
  const stated = textMember(content, 'ss58Address');
  if (stated !== undefined && stated !== address) {
    throw new Error(
      `Hotkey file ${file} states the address ${stated}, its secret belongs to ${address}.`,
    );
  }
  return { address, sign: (message) => sr25519Sign(message, pair) };
}

function miniSecret(content: unknown, file: string): Uint8Array {
  const phrase = textMember(content, 'secretPhrase');
  if (phrase !== undefined) {
    return mnemonicToMiniSecret(phrase);
  }
  const seed = textMember(content, 'secretSeed')?.replace(/^0x/, '');
  if (seed === undefined || !/^[0-9a-fA-F]{64}$/.test(seed)) {
    throw new Error(`Hotkey file ${file} holds neither a secretPhrase nor a 32-byte secretSeed.`);
  }
  return Buffer.from(seed, 'hex');
}

function textMember(content: unknown, name: string): string | undefined {
  if (typeof content !== 'object' || content === null || !(name in content)) {
    return undefined;
  }
  const value: unknown = Reflect.get(content, name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** What a signature covers. `query` has no question mark; `bodyText` is '' when there is no body. */
export interface SignedParts {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** Unix time in whole seconds. */
  readonly timestamp: string;
  readonly bodyText: string;
}

/** The text that is signed: six fields, single line feeds, none at the end. */
export function signedMessage(parts: SignedParts): string {
  const bodyHash = createHash('sha256').update(parts.bodyText, 'utf8').digest('hex');
  return [
    'BT-AUTH-V1',
    parts.method.toUpperCase(),
    parts.path,
    parts.query,
    parts.timestamp,
    bodyHash,
  ].join('\n');
}

/** The three headers of a signed request, and the content type where there is a body. */
export function signedHeaders(signer: Signer, parts: SignedParts): Record<string, string> {
  const signature = signer.sign(Buffer.from(signedMessage(parts), 'utf8'));
  return {
    'X-Hotkey': signer.address,
    'X-Timestamp': parts.timestamp,
    'X-Signature': Buffer.from(signature).toString('hex'),
    ...(parts.bodyText === '' ? {} : { 'Content-Type': 'application/json' }),
  };
}
