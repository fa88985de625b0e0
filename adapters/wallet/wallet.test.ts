import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { sr25519Verify } from '@polkadot/util-crypto/sr25519';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deriveKeyfileKey } from './key-derivation.js';
import { createWallet, type Wallet } from './wallet.js';

const fixture = (name: string): unknown =>
  JSON.parse(
    readFileSync(new URL(`../../test/fixtures/coordinator/${name}`, import.meta.url), 'utf8'),
  );
const signing = fixture('generated-signing-vectors.json') as {
  key: {
    mnemonic: string;
    mini_secret_hex: string;
    public_key_hex: string;
    ss58_address_42: string;
  };
  other_keys: { mnemonic?: string; mini_secret_hex?: string; ss58_address_42: string }[];
};
interface Encrypted {
  opslimit: number;
  memlimit_bytes: number;
  key_hex: string;
  file_base64: string;
}
const keyfiles = fixture('generated-keyfile-vectors.json') as {
  password: string;
  plaintext: string;
  moderate: Encrypted;
  sensitive: Encrypted;
};

let folder: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-wallet-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(content: string | Uint8Array, name = `file-${(count += 1)}`): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, content);
  return file;
}

async function walletOf(content: string | Uint8Array | object, password?: string): Promise<Wallet> {
  const raw = typeof content === 'string' || content instanceof Uint8Array;
  return createWallet({
    hotkeyFile: await write(raw ? content : JSON.stringify(content)),
    hotkeyPasswordFile: password === undefined ? null : await write(password),
  });
}

const { mnemonic, mini_secret_hex: seed, ss58_address_42: address } = signing.key;

describe('a plain hotkey file', () => {
  it.each([signing.key, ...signing.other_keys.filter((key) => key.mnemonic !== undefined)])(
    'gives the address of its phrase or seed ($ss58_address_42)',
    async (key) => {
      const ss58Address = key.ss58_address_42;
      const byPhrase = await walletOf({
        ss58Address,
        secretPhrase: key.mnemonic,
        secretSeed: null,
      });
      const bySeed = await walletOf({
        ss58Address,
        secretPhrase: null,
        secretSeed: `0x${key.mini_secret_hex}`,
      });
      expect(await byPhrase.address()).toBe(ss58Address);
      expect(await bySeed.address()).toBe(ss58Address);
    },
  );

  it('signs the message as it is', async () => {
    const wallet = await walletOf({ ss58Address: address, secretPhrase: mnemonic });
    const message = new TextEncoder().encode('BT-AUTH-V1\nPOST');
    const signature = await wallet.sign(message);
    expect(signature).toHaveLength(64);
    expect(sr25519Verify(message, signature, Buffer.from(signing.key.public_key_hex, 'hex'))).toBe(
      true,
    );
  });

  it('uses the phrase first when both are there', async () => {
    const wallet = await walletOf({
      ss58Address: address,
      secretPhrase: mnemonic,
      secretSeed: '0x00',
    });
    expect(await wallet.address()).toBe(address);
  });

  it('is read again after a failure', async () => {
    const file = path.join(folder, 'later');
    const wallet = createWallet({ hotkeyFile: file, hotkeyPasswordFile: null });
    await expect(wallet.address()).rejects.toMatchObject({
      code: 'HOTKEY_MISSING',
      message: `There is no hotkey file at ${file}.`,
    });
    await write(keyfiles.plaintext, 'later');
    expect(await wallet.address()).toBe(address);
  });
});

describe('an encrypted hotkey file', () => {
  it('derives the key of the vector', async () => {
    const { opslimit, memlimit_bytes, key_hex } = keyfiles.moderate;
    const key = await deriveKeyfileKey(new TextEncoder().encode(keyfiles.password), {
      operations: opslimit,
      memoryBytes: memlimit_bytes,
    });
    expect(Buffer.from(key).toString('hex')).toBe(key_hex);
  });

  it('opens with the cost of the upstream wallet', async () => {
    const bytes = Buffer.from(keyfiles.sensitive.file_base64, 'base64');
    const wallet = await walletOf(bytes, `${keyfiles.password}\n`);
    expect(await wallet.address()).toBe(address);
  });

  it("opens with the cost of SN94's wallet, in another thread: timers go on meanwhile", async () => {
    const bytes = Buffer.from(keyfiles.moderate.file_base64, 'base64');
    const wallet = await walletOf(bytes, keyfiles.password);
    let ticks = 0;
    const timer = setInterval(() => (ticks += 1), 1);
    expect(await wallet.address()).toBe(address);
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(10);
  });

  it('needs a password', async () => {
    const wallet = await walletOf(Buffer.from(keyfiles.moderate.file_base64, 'base64'));
    await expect(wallet.address()).rejects.toMatchObject({
      code: 'HOTKEY_ENCRYPTED',
      message: expect.stringMatching(
        /^The hotkey file .+ is encrypted and no password file is set\.$/,
      ),
      hint: 'Set ADIT_HOTKEY_PASSWORD_FILE to a file that holds the password.',
    });
  });

  it('needs a password file that is there', async () => {
    const hotkeyFile = await write(Buffer.from(keyfiles.moderate.file_base64, 'base64'));
    const wallet = createWallet({ hotkeyFile, hotkeyPasswordFile: path.join(folder, 'nowhere') });
    await expect(wallet.address()).rejects.toMatchObject({
      code: 'HOTKEY_ENCRYPTED',
      message: expect.stringContaining(
        `its password file ${path.join(folder, 'nowhere')} cannot be read (ENOENT).`,
      ),
    });
  });

  it('refuses a wrong password', async () => {
    const wallet = await walletOf(
      Buffer.from(keyfiles.moderate.file_base64, 'base64'),
      'no-such-password',
    );
    await expect(wallet.address()).rejects.toMatchObject({
      code: 'HOTKEY_PASSWORD_WRONG',
      message: expect.stringMatching(/^The password does not open the encrypted hotkey file .+\.$/),
    });
  });

  it('refuses a file that is cut short', async () => {
    const wallet = await walletOf('$NACLshort', 'x');
    await expect(wallet.address()).rejects.toMatchObject({
      code: 'HOTKEY_UNUSABLE',
      message: expect.stringContaining('is cut short'),
    });
  });
});

describe('a file that is no hotkey is refused by name:', () => {
  it.each<[string, string | Uint8Array | object, RegExp]>([
    [
      'Ansible vault',
      '$ANSIBLE_VAULT;1.1;AES256\n61',
      /is encrypted as Ansible vault text, an old format/,
    ],
    ['Fernet', 'gAAAAABkSecretSecret', /is encrypted as Fernet text, an old format/],
    ['not JSON', 'bottom drive obey lake', /is neither JSON nor an encrypted key file/],
    ['not text', Buffer.from([0xff, 0xfe, 0x00]), /is neither JSON nor an encrypted key file/],
    ['a list', [1], /is JSON, but not an object/],
    [
      'only an address',
      { ss58Address: address },
      /has an address and no secret: such a key can verify but not sign/,
    ],
    [
      'null secrets',
      { ss58Address: address, secretPhrase: null, secretSeed: null },
      /has an address and no secret/,
    ],
    ['no address', { secretPhrase: mnemonic }, /has no ss58Address/],
    [
      'a bad phrase',
      { ss58Address: address, secretPhrase: 'bottom bottom bottom' },
      /is no valid phrase/,
    ],
    ['a bad seed', { ss58Address: address, secretSeed: '0x12' }, /is not 0x and 64 hex digits/],
    [
      'another address',
      { ss58Address: signing.other_keys[0]?.ss58_address_42, secretPhrase: mnemonic },
      /belongs to 5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV, not to its ss58Address/,
    ],
    ['too large', 'x'.repeat(70_000), /has 70000 bytes/],
  ])('%s', async (_name, content, message) => {
    const wallet = await walletOf(content);
    const error: unknown = await wallet.address().catch((caught: unknown) => caught);
    expect(error).toMatchObject({
      code: 'HOTKEY_UNUSABLE',
      message: expect.stringMatching(message),
    });
    expect(JSON.stringify(error) + String(error)).not.toContain(mnemonic);
    expect(JSON.stringify(error) + String(error)).not.toContain(seed);
  });

  it('a directory', async () => {
    const hotkeyFile = path.join(folder, 'hotkeys');
    await mkdir(hotkeyFile);
    await expect(
      createWallet({ hotkeyFile, hotkeyPasswordFile: null }).address(),
    ).rejects.toMatchObject({
      code: 'HOTKEY_UNUSABLE',
      message: `The hotkey file ${hotkeyFile} is a directory.`,
    });
  });

  it('a file that cannot be read', async () => {
    const hotkeyFile = path.join(folder, 'loop');
    await symlink(hotkeyFile, hotkeyFile);
    await expect(
      createWallet({ hotkeyFile, hotkeyPasswordFile: null }).address(),
    ).rejects.toMatchObject({
      code: 'HOTKEY_UNUSABLE',
      message: `The hotkey file ${hotkeyFile} cannot be read (ELOOP).`,
    });
  });

  it.each(['coldkey', 'coldkeypub.txt'])('%s, also behind a link', async (name) => {
    const target = await write(keyfiles.plaintext, name);
    const link = path.join(folder, `link-to-${name}`);
    await symlink(target, link);
    for (const hotkeyFile of [target, link]) {
      await expect(
        createWallet({ hotkeyFile, hotkeyPasswordFile: null }).address(),
      ).rejects.toMatchObject({
        code: 'HOTKEY_UNUSABLE',
        message: `The hotkey file ${hotkeyFile} is a coldkey file (${name}); it was not opened.`,
      });
    }
  });

  it('a device that never ends', async () => {
    await expect(
      createWallet({ hotkeyFile: '/dev/zero', hotkeyPasswordFile: null }).address(),
    ).rejects.toMatchObject({
      code: 'HOTKEY_UNUSABLE',
      message: 'The hotkey file /dev/zero is neither JSON nor an encrypted key file.',
    });
  });

  it('no setting at all', async () => {
    await expect(
      createWallet({ hotkeyFile: null, hotkeyPasswordFile: null }).address(),
    ).rejects.toMatchObject({
      code: 'HOTKEY_MISSING',
      message: 'No hotkey file is set.',
    });
  });
});

it('knows addresses of network prefix 42', async () => {
  const wallet = createWallet({ hotkeyFile: null, hotkeyPasswordFile: null });
  expect(wallet.isAddress(address)).toBe(true);
  expect(wallet.isAddress(`${address.slice(0, -1)}W`)).toBe(false);
  expect(wallet.isAddress('15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5')).toBe(false);
});
