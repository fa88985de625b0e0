/** The hotkey: the only code that sees key material, and it only signs. The coldkey is never opened. */
import { encodeAddress } from '@polkadot/util-crypto/address';
import { cryptoWaitReady } from '@polkadot/util-crypto/crypto';
import { mnemonicToMiniSecret, mnemonicValidate } from '@polkadot/util-crypto/mnemonic';
import { sr25519PairFromSeed, sr25519Sign } from '@polkadot/util-crypto/sr25519';
import { StepError } from '../../core/error.js';
import { decodeAccount } from '../merkle/ss58.js';
import type { Settings } from '../settings/settings.js';
import { readHotkeyFile, type HotkeyFile } from './hotkey-file.js';

export interface Wallet {
  /** SS58 address (prefix 42) of the configured hotkey. Throws HOTKEY_*. */
  address(): Promise<string>;
  /** sr25519 signature (64 bytes) of the message as it is; another one each time. Throws HOTKEY_*. */
  sign(message: Uint8Array): Promise<Uint8Array>;
  /** True for an SS58 address of network prefix 42 with a right checksum. Needs no key. */
  isAddress(text: string): boolean;
}

interface Hotkey {
  readonly address: string;
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** The file is read, and an encrypted one opened, once, at the first call; a failure is not remembered. */
export function createWallet(
  settings: Pick<Settings, 'hotkeyFile' | 'hotkeyPasswordFile'>,
): Wallet {
  let hotkey: Promise<Hotkey> | undefined;
  const load = (): Promise<Hotkey> => {
    hotkey ??= openHotkey(settings).catch((error: unknown) => {
      hotkey = undefined;
      throw error;
    });
    return hotkey;
  };
  return {
    address: async () => (await load()).address,
    sign: async (message) => (await load()).sign(message),
    isAddress: (text) => decodeAccount(text) !== null,
  };
}

async function openHotkey({
  hotkeyFile,
  hotkeyPasswordFile,
}: Pick<Settings, 'hotkeyFile' | 'hotkeyPasswordFile'>): Promise<Hotkey> {
  if (hotkeyFile === null) {
    throw new StepError('HOTKEY_MISSING', 'No hotkey file is set.', {
      hint: 'Set ADIT_HOTKEY_FILE to a Bittensor hotkey file, <wallet>/hotkeys/<name>.',
    });
  }
  const content = await readHotkeyFile(hotkeyFile, hotkeyPasswordFile);
  await cryptoWaitReady();
  const pair = sr25519PairFromSeed(miniSecret(hotkeyFile, content));
  const address = encodeAddress(pair.publicKey, 42);
  if (address !== content.ss58Address) {
    throw new StepError(
      'HOTKEY_UNUSABLE',
      `The secret in the hotkey file ${hotkeyFile} belongs to ${address}, not to its ss58Address.`,
      { hint: 'The file was edited or mixed up; regenerate it with btcli.' },
    );
  }
  return { address, sign: (message) => sr25519Sign(message, pair) };
}

/** `secretPhrase` first, then `secretSeed` (protocol 1.9). */
function miniSecret(file: string, { secretPhrase, secretSeed }: HotkeyFile): Uint8Array {
  if (secretPhrase !== null) {
    const phrase = secretPhrase.split(/\s+/).join(' ');
    if (!mnemonicValidate(phrase)) {
      throw new StepError(
        'HOTKEY_UNUSABLE',
        `The secretPhrase in the hotkey file ${file} is no valid phrase.`,
        {
          hint: 'Regenerate the hotkey file with btcli.',
        },
      );
    }
    return mnemonicToMiniSecret(phrase);
  }
  const digits = /^(?:0x)?([0-9a-fA-F]{64})$/.exec(secretSeed ?? '')?.[1];
  if (digits === undefined) {
    throw new StepError(
      'HOTKEY_UNUSABLE',
      `The secretSeed in the hotkey file ${file} is not 0x and 64 hex digits.`,
      {
        hint: 'Regenerate the hotkey file with btcli.',
      },
    );
  }
  return new Uint8Array(Buffer.from(digits, 'hex'));
}
