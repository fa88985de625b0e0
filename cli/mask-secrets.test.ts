import { describe, expect, it } from 'vitest';
import { createSecretMask } from './mask-secrets.js';

/** The mnemonic of the public development accounts: nothing of value is kept by it. */
const MNEMONIC = 'bottom drive obey lake curtain smoke basket hold race lonely fit walk';
const TOKEN = 'tok-5up3r-s3cret';

/** The output when it arrives in pieces of `size` bytes. */
function masked(
  output: Buffer | string,
  size: number,
  secrets: readonly string[] = [TOKEN],
): string {
  const bytes = Buffer.from(output);
  const mask = createSecretMask(secrets);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size)
    parts.push(mask.push(bytes.subarray(at, at + size)));
  parts.push(mask.end());
  return Buffer.concat(parts).toString('latin1');
}

describe('a secret in an output', () => {
  const output = `step 1\nuploading with ${TOKEN}.\n${MNEMONIC}\nTOKEN=${TOKEN}${TOKEN}\nlast line`;
  const expected = 'step 1\nuploading with [masked].\n[masked]\nTOKEN=[masked][masked]\nlast line';

  it.each([1, 2, 3, 5, 7, 16, 61, 4096])('is masked in pieces of %i bytes', (size) => {
    expect(masked(output, size)).toBe(expected);
  });

  it('is masked when a mnemonic is quoted and set out over lines', () => {
    const words = MNEMONIC.split(' ').map((word, index) => `  ${index + 1}: "${word}",\n`);
    for (const size of [1, 9, 500]) {
      expect(masked(`[\n${words.join('')}]`, size)).toBe('[\n  1: "[masked]",\n]');
    }
  });

  it('is masked whichever words of the list stand before and behind it', () => {
    for (const around of ['abandon', 'zoo zoo zoo zoo zoo', 'walk walk fit fit race hold']) {
      const text = `${around} ${MNEMONIC} ${around}`;
      for (const size of [1, 13, 1000]) {
        const shown = masked(text, size);
        expect(shown).toContain('[masked]');
        expect(shown).not.toContain('bottom drive');
        expect(shown).not.toContain('fit walk ');
      }
    }
  });

  it('is shown when it is only the beginning of one', () => {
    const half = `${MNEMONIC.split(' ').slice(0, 11).join(' ')} tok-5up3r`;
    expect(masked(half, 1)).toBe(half);
  });
});

describe('what is no secret', () => {
  it('comes through byte for byte, whatever the bytes are', () => {
    const bytes = Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 89) % 256));
    for (const size of [1, 3, 777]) {
      expect(masked(bytes, size)).toBe(bytes.toString('latin1'));
    }
  });

  it('is not held back but for what may be the beginning of a secret', () => {
    const mask = createSecretMask([TOKEN]);
    expect(mask.push(Buffer.from('epoch 3: 12 %\n')).toString()).toBe('epoch 3: 12 %\n');
    expect(mask.push(Buffer.from('with tok-5')).toString()).toBe('with ');
    expect(mask.settle().toString()).toBe('');
    expect(mask.push(Buffer.from('0\n')).toString()).toBe('tok-50\n');
    expect(mask.push(Buffer.from('greetings, world\n')).toString()).toBe('greetings, ');
    expect(mask.settle().toString()).toBe('world\n');
  });

  it('stays when a secret file is empty or holds next to nothing', () => {
    expect(masked('a b c', 1, ['', 'b'])).toBe('a b c');
  });
});
