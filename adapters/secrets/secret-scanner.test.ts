import { mnemonicGenerate } from '@polkadot/util-crypto/mnemonic';
import { expect, test } from 'vitest';
import { createSecretScanner } from './secret-scanner.js';

const scanner = createSecretScanner();
const HEX_64 = 'e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a';
// The public development mnemonic of Substrate.
const MNEMONIC = 'bottom drive obey lake curtain smoke basket hold race lonely fit walk';

const PRIVATE = 'PRIVATE';

/** Put together here, so that no scanner mistakes this file for a leak. */
function token(prefix: string, length: number): string {
  return prefix + 'aB3'.repeat(length).slice(0, length);
}

test.each([
  ['private key', `-----BEGIN OPENSSH ${PRIVATE} KEY-----`],
  ['private key', `-----BEGIN ${PRIVATE} KEY-----`],
  ['encrypted key file', '$NACL0123456789abcdef'],
  ['seed or private key in hex', `"secretSeed": "0x${HEX_64}"`],
  ['seed or private key in hex', `PRIVATE_KEY=${HEX_64}${HEX_64}`],
  ['Hugging Face token', `token = "${token('hf_', 34)}"`],
  ['GitHub token', token('ghp_', 36)],
  ['GitHub token', token('github_pat_', 40)],
  ['GitLab token', token('glpat-', 20)],
  ['AWS access key', `AKIA${'A1'.repeat(8)}`],
  ['AWS secret key', `AWS_SECRET_ACCESS_KEY=${token('', 40)}`],
  ['Google API key', token('AIza', 35)],
  ['Slack token', token('xoxb-', 20)],
  ['API key', token('sk-', 40)],
  ['npm token', token('npm_', 36)],
  ['bearer token', `Authorization: Bearer ${token('', 30)}`],
  ['password in a URL', 'https://me:word@example.org/x.git'],
  ['mnemonic', MNEMONIC],
  [
    'mnemonic',
    `key = [${MNEMONIC.split(' ')
      .map((word) => `"${word}"`)
      .join(', ')}]`,
  ],
  [
    'mnemonic',
    MNEMONIC.toUpperCase()
      .split(' ')
      .map((word, index) => `+  ${index + 1}. ${word}`)
      .join('\n'),
  ],
  ['mnemonic', `able able ${MNEMONIC} zoo`],
])('finds a %s', (kind, secret) => {
  const findings = scanner.find(`first\n+ ${secret}\nlast`);
  expect(findings).toEqual([{ kind, line: 2 }]);
});

test.each([
  ['a digest', `artifact_sha256: ${HEX_64}`],
  ['a commit', 'index 5b20865c0b2f7e1c8a7d9a1f3d5e7f9012345678'],
  ['a small seed', 'seed = 1234'],
  ['a digest of what is private', `private heldout manifest ${HEX_64}`],
  ['eleven words', MNEMONIC.split(' ').slice(0, 11).join(' ')],
  ['twelve words whose checksum is wrong', MNEMONIC.split(' ').toReversed().join(' ')],
  ['prose', 'the hidden layer will cover the tail of the loss better than a plain round does'],
  ['a URL', 'https://example.org:8443/user@host'],
  ['nothing', ''],
])('leaves %s alone', (_what, text) => {
  expect(scanner.find(text)).toEqual([]);
});

test.each([12, 15, 18, 21, 24] as const)('finds every mnemonic of %i words', (count) => {
  for (let n = 0; n < 50; n += 1) {
    expect(scanner.find(`${mnemonicGenerate(count)}.`)).toEqual([{ kind: 'mnemonic', line: 1 }]);
  }
});

test('says where each of several secrets stands and shows none', () => {
  const findings = scanner.find(`a\n${MNEMONIC}\n\n${token('hf_', 34)}\n`);
  expect(findings).toEqual([
    { kind: 'mnemonic', line: 2 },
    { kind: 'Hugging Face token', line: 4 },
  ]);
});

test('a megabyte made to be slow is read to its end', () => {
  const hostile =
    `secret ${'0'.repeat(63)} `.repeat(10_000) + 'http://a:'.repeat(30_000) + 'zoo '.repeat(20_000);
  expect(scanner.find(hostile)).toBeInstanceOf(Array);
});
