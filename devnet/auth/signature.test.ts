import { readFileSync } from 'node:fs';
import {
  cryptoWaitReady,
  mnemonicToMiniSecret,
  sr25519PairFromSeed,
  sr25519Sign,
} from '@polkadot/util-crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson } from './canonical-json.js';
import { JsonSyntaxError, parseJson, pythonNumberText, writeJson } from './json-numbers.js';
import { isSignedBy, publicKeyOf, signedMessage } from './signature.js';

interface Vector {
  name: string;
  method: string;
  path: string;
  query: string;
  timestamp: string;
  body: unknown;
  has_body: boolean;
  canonical_body: string;
  message: string;
  signature_hex: string;
}
const fixtureText = readFileSync(
  new URL('../../test/fixtures/coordinator/generated-signing-vectors.json', import.meta.url),
  'utf8',
);
const fixture = JSON.parse(fixtureText) as {
  key: { mnemonic: string; ss58_address_42: string };
  requests: Vector[];
  number_text: { value_js: string; python_text: string }[];
};

beforeAll(async () => {
  await cryptoWaitReady();
});

describe.each(fixture.requests)('the signing vector $name', (vector) => {
  const canonicalBody = (): Uint8Array =>
    vector.has_body
      ? Buffer.from(canonicalJson(parseJson(JSON.stringify(vector.body))))
      : new Uint8Array();
  const request = (): Parameters<typeof signedMessage>[0] => ({
    ...vector,
    canonicalBody: canonicalBody(),
  });

  it('is re-canonicalised to the same body and message', () => {
    expect(Buffer.from(canonicalBody()).toString()).toBe(vector.canonical_body);
    expect(Buffer.from(signedMessage(request())).toString()).toBe(vector.message);
  });

  it('verifies with the given signature and with one made here', () => {
    const pair = sr25519PairFromSeed(mnemonicToMiniSecret(fixture.key.mnemonic));
    const own = Buffer.from(sr25519Sign(signedMessage(request()), pair)).toString('hex');
    for (const signature of [vector.signature_hex, own]) {
      expect(isSignedBy(fixture.key.ss58_address_42, signedMessage(request()), signature)).toBe(
        true,
      );
    }
  });

  it('does not verify for another body, key or signature', () => {
    const message = signedMessage(request());
    const changed = signedMessage({ ...request(), canonicalBody: Buffer.from('{"x":1}') });
    const flipped =
      (vector.signature_hex.startsWith('0') ? '1' : '0') + vector.signature_hex.slice(1);
    expect(isSignedBy(fixture.key.ss58_address_42, changed, vector.signature_hex)).toBe(false);
    expect(isSignedBy(fixture.key.ss58_address_42, message, flipped)).toBe(false);
    expect(isSignedBy(fixture.key.ss58_address_42, message, `0x${vector.signature_hex}`)).toBe(
      false,
    );
    expect(
      isSignedBy('5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY', message, vector.signature_hex),
    ).toBe(false);
  });
});

describe('numbers as Python spells them', () => {
  it.each(fixture.number_text)('writes $value_js as $python_text', ({ value_js, python_text }) => {
    expect(pythonNumberText(value_js.replace(' (integer)', ''))).toBe(python_text);
  });

  it.each([
    ['1.0', '1.0'],
    ['1e16', '1e+16'],
    ['1E15', '1000000000000000.0'],
    ['149312.0', '149312.0'],
    ['1.50', '1.5'],
    ['-0', '0'],
    ['-0.0', '-0.0'],
    ['0.0001', '0.0001'],
    ['0.00009', '9e-05'],
    ['123456789012345678901234567890', '123456789012345678901234567890'],
    ['9007199254740993', '9007199254740993'],
    ['12345678901234567.0', '1.2345678901234568e+16'],
    ['1e22', '1e+22'],
    ['-2.5e-3', '-0.0025'],
  ])('writes %s as %s', (text, expected) => {
    expect(pythonNumberText(text)).toBe(expected);
    expect(canonicalJson(parseJson(`{"b":${text},"a":[${text}]}`))).toBe(
      `{"a":[${expected}],"b":${expected}}`,
    );
  });

  it('refuses a number that Python reads as infinite', () => {
    expect(() => pythonNumberText('1e999')).toThrow('the number 1e999 is out of range');
  });
});

describe('canonical JSON', () => {
  it('orders keys by code point, not by UTF-16 unit', () => {
    expect(canonicalJson({ '\u{1F600}': 1, '\uFB00': 2 })).toBe('{"\\ufb00":2,"\\ud83d\\ude00":1}');
  });

  it('takes the last of several equal keys, as Python does', () => {
    expect(canonicalJson(parseJson('{"a":1.0,"a":2}'))).toBe('{"a":2}');
  });

  it('refuses what is not JSON', () => {
    expect(() => parseJson('{"a":NaN}')).toThrow(JsonSyntaxError);
    expect(() => parseJson('{"a":1')).toThrow(JsonSyntaxError);
  });

  it('relays a number in the spelling in which it came', () => {
    expect(writeJson(parseJson('{"a":149312.0,"b":9007199254740993,"c":1.5}'))).toBe(
      '{"a":149312.0,"b":9007199254740993,"c":1.5}',
    );
  });
});

describe('an address', () => {
  it.each([
    '',
    '0x00',
    '5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzX',
    '15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5',
  ])('that is %j has no public key here', (address) => {
    expect(publicKeyOf(address)).toBeNull();
  });
});
