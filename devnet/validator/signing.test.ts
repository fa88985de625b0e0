import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { decodeAddress, sr25519Verify } from '@polkadot/util-crypto';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { canonicalBody, type BodyValue } from './canonical-body.js';
import { openHotkey, signedHeaders, signedMessage } from './signing.js';

const fixture = z.object({
  key: z.object({ mnemonic: z.string(), mini_secret_hex: z.string(), ss58_address_42: z.string() }),
  requests: z.array(
    z.object({
      name: z.string(),
      method: z.string(),
      path: z.string(),
      query: z.string(),
      timestamp: z.string(),
      body: z.custom<BodyValue>(),
      has_body: z.boolean(),
      canonical_body: z.string(),
      message: z.string(),
    }),
  ),
  number_text: z.array(z.object({ value_js: z.string(), python_text: z.string() })),
});

const vectors = fixture.parse(
  JSON.parse(await readFile('test/fixtures/coordinator/generated-signing-vectors.json', 'utf8')),
);

async function hotkeyFile(content: object): Promise<string> {
  const file = path.join(await mkdtemp(path.join(tmpdir(), 'adit-hotkey-')), 'hotkey');
  await writeFile(file, JSON.stringify(content));
  return file;
}

describe('signed requests of the validator', () => {
  it.each(vectors.requests)('match the vector $name', async (request) => {
    const bodyText = request.has_body ? canonicalBody(request.body) : '';
    expect(bodyText).toBe(request.canonical_body);
    const { method, path: requestPath, query, timestamp } = request;
    const parts = { method, path: requestPath, query, timestamp, bodyText };
    expect(signedMessage(parts)).toBe(request.message);

    const signer = await openHotkey(await hotkeyFile({ secretPhrase: vectors.key.mnemonic }));
    const headers = signedHeaders(signer, parts);
    expect(headers['X-Hotkey']).toBe(vectors.key.ss58_address_42);
    expect(headers['X-Timestamp']).toBe(timestamp);
    expect(headers['X-Signature']).toMatch(/^[0-9a-f]{128}$/);
    expect(headers['Content-Type']).toBe(request.has_body ? 'application/json' : undefined);
    const signature = Buffer.from(headers['X-Signature'] ?? '', 'hex');
    expect(sr25519Verify(request.message, signature, decodeAddress(signer.address))).toBe(true);
  });

  it.each(vectors.number_text)('spell $value_js as Python does', ({ value_js, python_text }) => {
    expect(canonicalBody(Number(value_js.replace(' (integer)', '')))).toBe(python_text);
  });

  it('leave out members without a value and refuse numbers without a text', () => {
    expect(canonicalBody({ b: undefined, a: [null, true, -0, -12.5] })).toBe(
      '{"a":[null,true,0,-12.5]}',
    );
    expect(() => canonicalBody({ metric: Number.NaN })).toThrow('cannot hold the number NaN');
  });
});

describe('the hotkey file', () => {
  it('may hold a seed instead of a phrase', async () => {
    const { mini_secret_hex, ss58_address_42 } = vectors.key;
    const signer = await openHotkey(
      await hotkeyFile({
        ss58Address: ss58_address_42,
        secretPhrase: null,
        secretSeed: `0x${mini_secret_hex}`,
      }),
    );
    expect(signer.address).toBe(ss58_address_42);
  });

  it('is refused when its address belongs to another secret or when it has none', async () => {
    const other = '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY';
    const wrong = await hotkeyFile({ ss58Address: other, secretPhrase: vectors.key.mnemonic });
    await expect(openHotkey(wrong)).rejects.toThrow(`states the address ${other}`);
    const empty = await hotkeyFile({ ss58Address: other });
    await expect(openHotkey(empty)).rejects.toThrow(
      'neither a secretPhrase nor a 32-byte secretSeed',
    );
  });
});
