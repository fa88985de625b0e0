/**
 * Reads a Bittensor hotkey file, plain or encrypted, and refuses every other kind by name (protocol 1.9).
 * No message of this file holds a phrase, a seed, a password or any other part of a file's content.
 */
import { open, realpath, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { naclDecrypt } from '@polkadot/util-crypto/nacl';
import { StepError } from '../../core/error.js';
import { isJsonObject, type JsonObject } from '../../core/json.js';
import { deriveKeyfileKey, KEYFILE_COSTS } from './key-derivation.js';

/** A hotkey file is under 1 KiB. */
const MAX_FILE_BYTES = 64 * 1024;
const NACL_PREFIX = '$NACL';
const NONCE_BYTES = 24;

/** What the file says; the address is what it claims to be the key of. */
export interface HotkeyFile {
  readonly ss58Address: string;
  readonly secretPhrase: string | null;
  readonly secretSeed: string | null;
}

/**
 * The content of the hotkey file. Throws HOTKEY_MISSING, HOTKEY_ENCRYPTED (no password is set),
 * HOTKEY_PASSWORD_WRONG, HOTKEY_UNUSABLE (any other kind of file).
 */
export async function readHotkeyFile(
  file: string,
  passwordFile: string | null,
): Promise<HotkeyFile> {
  const bytes = await readBounded(file);
  if (startsWith(bytes, '$ANSIBLE_VAULT')) {
    throw unusable(
      `The hotkey file ${file} is encrypted as Ansible vault text, an old format.`,
      'Convert it with a current btcli (decrypt it, then encrypt it again or leave it plain).',
    );
  }
  if (startsWith(bytes, 'gAAAAA')) {
    throw unusable(
      `The hotkey file ${file} is encrypted as Fernet text, an old format.`,
      'Convert it with a current btcli (decrypt it, then encrypt it again or leave it plain).',
    );
  }
  if (!startsWith(bytes, NACL_PREFIX)) return parseContent(file, bytes);
  return parseContent(file, await decrypt(file, bytes, await readPassword(file, passwordFile)));
}

async function readBounded(file: string): Promise<Buffer> {
  let target: string;
  try {
    target = await realpath(file);
  } catch (error) {
    throw readError(file, error);
  }
  // By name, before it is opened: Adit never reads a coldkey.
  for (const name of [path.basename(file), path.basename(target)]) {
    if (/^coldkey/i.test(name)) {
      throw unusable(
        `The hotkey file ${file} is a coldkey file (${name}); it was not opened.`,
        'Give the hotkey: <wallet>/hotkeys/<name>. Adit never needs the coldkey.',
      );
    }
  }
  let handle;
  try {
    handle = await open(target, 'r');
    const { size } = await handle.stat();
    if (size > MAX_FILE_BYTES) {
      throw unusable(
        `The hotkey file ${file} has ${size} bytes; a hotkey file has less than ${MAX_FILE_BYTES}.`,
      );
    }
    return await readAtMost(handle, MAX_FILE_BYTES);
  } catch (error) {
    throw error instanceof StepError ? error : readError(file, error);
  } finally {
    await handle?.close();
  }
}

/** The first bytes of a file, also of one that tells no size: a pipe or a device. */
async function readAtMost(handle: FileHandle, maxBytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(maxBytes);
  let filled = 0;
  while (filled < maxBytes) {
    const { bytesRead } = await handle.read(buffer, filled, maxBytes - filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function readError(file: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new StepError('HOTKEY_MISSING', `There is no hotkey file at ${file}.`, {
      hint: 'Set ADIT_HOTKEY_FILE to a Bittensor hotkey file, <wallet>/hotkeys/<name>.',
    });
  }
  if (code === 'EISDIR') {
    return unusable(
      `The hotkey file ${file} is a directory.`,
      'Give the file inside it: <wallet>/hotkeys/<name>.',
    );
  }
  if (code === undefined) return error;
  return unusable(`The hotkey file ${file} cannot be read (${code}).`, 'Check its owner and mode.');
}

async function readPassword(file: string, passwordFile: string | null): Promise<Uint8Array> {
  if (passwordFile === null) {
    throw new StepError(
      'HOTKEY_ENCRYPTED',
      `The hotkey file ${file} is encrypted and no password file is set.`,
      {
        hint: 'Set ADIT_HOTKEY_PASSWORD_FILE to a file that holds the password.',
      },
    );
  }
  let text: string;
  try {
    const handle = await open(passwordFile, 'r');
    try {
      text = (await readAtMost(handle, MAX_FILE_BYTES)).toString('utf8');
    } finally {
      await handle.close();
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    throw new StepError(
      'HOTKEY_ENCRYPTED',
      `The hotkey file ${file} is encrypted and its password file ${passwordFile} cannot be read (${code}).`,
      { hint: 'Correct ADIT_HOTKEY_PASSWORD_FILE.' },
    );
  }
  // Editors end a file with a line feed that is no part of the password.
  return new TextEncoder().encode(text.replace(/\r?\n$/, ''));
}

async function decrypt(file: string, bytes: Buffer, password: Uint8Array): Promise<Uint8Array> {
  const nonce = new Uint8Array(
    bytes.subarray(NACL_PREFIX.length, NACL_PREFIX.length + NONCE_BYTES),
  );
  const box = new Uint8Array(bytes.subarray(NACL_PREFIX.length + NONCE_BYTES));
  if (nonce.length < NONCE_BYTES || box.length <= 16) {
    throw unusable(`The encrypted hotkey file ${file} is cut short.`);
  }
  for (const cost of KEYFILE_COSTS) {
    const content = naclDecrypt(box, nonce, await deriveKeyfileKey(password, cost));
    if (content !== null) return content;
  }
  throw new StepError(
    'HOTKEY_PASSWORD_WRONG',
    `The password does not open the encrypted hotkey file ${file}.`,
    {
      hint: 'Check the file that ADIT_HOTKEY_PASSWORD_FILE names; a single line feed at its end is ignored.',
    },
  );
}

function parseContent(file: string, bytes: Uint8Array): HotkeyFile {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw unusable(
      `The hotkey file ${file} is neither JSON nor an encrypted key file.`,
      'A Bittensor hotkey file is one JSON object with ss58Address and secretPhrase.',
    );
  }
  if (!isJsonObject(content)) throw unusable(`The hotkey file ${file} is JSON, but not an object.`);
  const ss58Address = textOf(content, 'ss58Address');
  const secretPhrase = textOf(content, 'secretPhrase');
  const secretSeed = textOf(content, 'secretSeed');
  if (ss58Address === null) throw unusable(`The hotkey file ${file} has no ss58Address.`);
  if (secretPhrase === null && secretSeed === null) {
    throw unusable(
      `The hotkey file ${file} has an address and no secret: such a key can verify but not sign.`,
      'Give the file that holds secretPhrase or secretSeed, not a public key file such as coldkeypub.txt.',
    );
  }
  return { ss58Address, secretPhrase, secretSeed };
}

function textOf(content: JsonObject, key: string): string | null {
  const value = content[key];
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null;
}

function startsWith(bytes: Buffer, prefix: string): boolean {
  return bytes.subarray(0, prefix.length).toString('latin1') === prefix;
}

function unusable(
  message: string,
  hint = 'Give a Bittensor hotkey file: <wallet>/hotkeys/<name>.',
): StepError {
  return new StepError('HOTKEY_UNUSABLE', message, { hint });
}
