import { readFileSync } from 'node:fs';
import { parse } from 'lossless-json';
import { describe, expect, test } from 'vitest';
import { parseClaimPackage } from './claim-package.js';

interface Normalisation {
  in: unknown;
  out?: Record<string, unknown>;
  reject?: string;
  ours?: 'refuse';
}

const text = readFileSync(
  new URL('../../test/fixtures/merkle/vectors.json', import.meta.url),
  'utf8',
);
// Only the packages must keep their numbers as they are written.
const inputs = (parse(text) as { package_normalisation: { in: unknown }[] }).package_normalisation;
const cases = (
  JSON.parse(text) as { package_normalisation: Normalisation[] }
).package_normalisation.map((vector, position) => ({ ...vector, in: inputs[position]?.in }));

const HOTKEY = '5DofCQDN9jcFtp84hKrbg1M8tupCUwXhym6JU1rnuWUkwn3V';
const RECIPIENT = '5Hfbk2GksseGSKWpw1HEknwhQbbA8X8Xzhw8toXSNvK9TuXW';

function packageText(change: Record<string, string>): string {
  const members: Record<string, string> = {
    epoch: '7',
    index: '2',
    hotkey: `"${HOTKEY}"`,
    recipient_coldkey: `"${RECIPIENT}"`,
    amount: '5',
    proof: '[]',
    root: `"${'ab'.repeat(32)}"`,
    ...change,
  };
  return `{${Object.entries(members)
    .map(([name, value]) => `"${name}":${value}`)
    .join(',')}}`;
}

describe('the vectors', () => {
  test.each(cases.filter((vector) => vector.out !== undefined && vector.ours === undefined))(
    'a package that is accepted is normalised',
    (vector) => {
      const parsed = parseClaimPackage(vector.in);
      if (!parsed.ok) throw new Error(parsed.message);
      const { recipient, recipientSource, ...rest } = parsed.value;
      expect({
        ...rest,
        recipient_coldkey: recipient,
        recipient_source: recipientSource,
      }).toMatchObject(vector.out ?? {});
    },
  );

  test.each(cases.filter((vector) => vector.reject !== undefined))(
    'a package is refused: $reject',
    (vector) => {
      expect(parseClaimPackage(vector.in)).toMatchObject({ ok: false, problem: vector.reject });
    },
  );

  test('two different amounts are refused, where upstream takes the first', () => {
    const [vector] = cases.filter(({ ours }) => ours === 'refuse');
    expect(parseClaimPackage(vector?.in)).toEqual({
      ok: false,
      problem: 'amount_conflict',
      message: 'amount is 1 and amount_units is 2',
    });
  });

  test('there are six of them', () => {
    expect(cases).toHaveLength(6);
  });
});

test('an amount beyond what a double holds stays exact', () => {
  const parsed = parseClaimPackage(parse(packageText({ amount: '9007199254740993' })));
  expect(parsed).toMatchObject({ ok: true, value: { amount: '9007199254740993' } });
});

test.each([
  ['amount', '1e3', 'amount is 1e3, not a u64'],
  ['amount', '-1', 'amount is -1, not a u64'],
  ['amount', '18446744073709551616', 'amount is 18446744073709551616, not a u64'],
  ['amount', 'true', 'amount is true, not a u64'],
  ['amount', 'null', 'amount is missing, not a u64'],
  ['index', '4294967296', 'index is 4294967296, not a u32'],
  ['epoch', '"007"', 'epoch is "007", not a u64'],
  ['root', '"0x12"', 'root is "0x12", not 32 bytes in hex'],
  ['proof', '{}', 'proof is not a list'],
  [
    'proof',
    `[${Array(33)
      .fill(`"${'ab'.repeat(32)}"`)
      .join(',')}]`,
    'proof has 33 elements, at most 32 are possible',
  ],
  ['hotkey', '"5HotkeyAddr"', 'hotkey is "5HotkeyAddr", not an SS58 address with prefix 42'],
  [
    'recipient_coldkey',
    '"12jxLjUS1WsjLM8aexubpABHkXorBF5r4FpndJr9TbWH7xof"',
    'recipient_coldkey is "12jxLjUS1WsjLM8aexubpABHkXorBF5r4FpndJr9TbWH7xof", not an SS58 address with prefix 42',
  ],
  [
    'recipient_address',
    `"${HOTKEY}"`,
    `recipient_coldkey is ${RECIPIENT} and recipient_address is "${HOTKEY}"`,
  ],
])('%s %s is refused', (name, value, message) => {
  expect(parseClaimPackage(parse(packageText({ [name]: value })))).toMatchObject({
    ok: false,
    message,
  });
});

test('amount_units counts where amount is null', () => {
  const parsed = parseClaimPackage(parse(packageText({ amount: 'null', amount_units: '9' })));
  expect(parsed).toMatchObject({ ok: true, value: { amount: '9' } });
});

test('a package that is not an object is refused', () => {
  expect(parseClaimPackage(parse('[1]'))).toMatchObject({ ok: false, problem: 'not_an_object' });
});
