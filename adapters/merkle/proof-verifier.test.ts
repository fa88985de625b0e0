import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse } from 'lossless-json';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseClaimPackage, type ClaimPackage } from './claim-package.js';
import type { PublishedEpoch } from './detection.js';
import { createProofVerifier } from './proof-verifier.js';

interface Probe {
  name: string;
  package: unknown;
  onchain: { root: string; num_of_leaves: number };
}
const probes = (
  JSON.parse(
    readFileSync(new URL('../../test/fixtures/merkle/vectors.json', import.meta.url), 'utf8'),
  ) as { probe: { cases: Probe[] } }
).probe.cases;

const ONE_LEAF = 'one-leaf: leaf layout is decided, pair rule is not';
const EIGHT_SORTED = 'eight leaves, blake2b, sorted';
const EIGHT_POSITIONAL = 'eight leaves, blake2b, positional';
const FLIPPED = 'eight leaves, proof bit flipped: nothing may match';
const SCOPE = 'https://pool.example.org member root';

function probe(name: string): [ClaimPackage, PublishedEpoch] {
  const found = probes.find((one) => one.name === name);
  const parsed = parseClaimPackage(parse(JSON.stringify(found?.package)));
  if (found === undefined || !parsed.ok) throw new Error(`no probe ${name}`);
  const { root, num_of_leaves: leafCount } = found.onchain;
  return [parsed.value, { root, leafCount, contract: null }];
}

let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-pins-'));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

test('a proof that matches nothing, before anything ever matched, has an unknown profile', async () => {
  const verifier = createProofVerifier({ stateDir, merkleProfile: null });
  expect(await verifier.verify(...probe(FLIPPED), SCOPE)).toEqual({
    result: 'unknown_profile',
    triedCount: 672,
  });
  expect(await readdir(stateDir)).toEqual([]);
});

test('each package narrows the profiles, and what fits none of those left is invalid', async () => {
  const verifier = createProofVerifier({ stateDir, merkleProfile: null });
  expect(await verifier.verify(...probe(ONE_LEAF), SCOPE)).toMatchObject({
    result: 'verified',
    profiles: [
      'ink-cum-sorted-promote',
      'ink-cum-sorted-duplicate',
      'ink-cum-positional-promote',
      'ink-cum-positional-duplicate',
    ],
  });
  const narrowed = {
    result: 'verified',
    profile: 'ink-cum-sorted-promote or ink-cum-sorted-duplicate',
    profiles: ['ink-cum-sorted-promote', 'ink-cum-sorted-duplicate'],
  };
  expect(await verifier.verify(...probe(EIGHT_SORTED), SCOPE)).toEqual(narrowed);
  expect(await verifier.verify(...probe(ONE_LEAF), SCOPE)).toEqual(narrowed);

  const restarted = createProofVerifier({ stateDir, merkleProfile: null });
  expect(await restarted.verify(...probe(EIGHT_POSITIONAL), SCOPE)).toEqual({
    result: 'invalid',
    tried: ['ink-cum-sorted-promote', 'ink-cum-sorted-duplicate'],
  });
});

test('what one Pool pinned does not bind another', async () => {
  const verifier = createProofVerifier({ stateDir, merkleProfile: null });
  await verifier.verify(...probe(EIGHT_SORTED), SCOPE);
  expect(await verifier.verify(...probe(EIGHT_POSITIONAL), 'another Pool')).toMatchObject({
    result: 'verified',
  });
});

test('a profile from the settings decides alone and pins nothing', async () => {
  const verifier = createProofVerifier({ stateDir, merkleProfile: 'ink-cum-sorted-promote' });
  expect(await verifier.verify(...probe(EIGHT_SORTED), SCOPE)).toEqual({
    result: 'verified',
    profile: 'ink-cum-sorted-promote',
    profiles: ['ink-cum-sorted-promote'],
  });
  expect(await verifier.verify(...probe(EIGHT_POSITIONAL), SCOPE)).toMatchObject({
    result: 'invalid',
  });
  expect(await readdir(stateDir)).toEqual([]);
});

test('a profile that does not exist is refused at start', () => {
  expect(() => createProofVerifier({ stateDir, merkleProfile: 'md5' })).toThrow(
    'Setting merkleProfile is md5, which is no encoding profile.',
  );
});

test('damaged pins are not taken for none', async () => {
  const verifier = createProofVerifier({ stateDir, merkleProfile: null });
  await verifier.verify(...probe(EIGHT_SORTED), SCOPE);
  const folder = path.join(stateDir, 'merkle-pins');
  const [name] = await readdir(folder);
  const file = path.join(folder, String(name));
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ scope: SCOPE });
  await writeFile(file, '{"profiles":[]}');
  await expect(verifier.verify(...probe(EIGHT_SORTED), SCOPE)).rejects.toThrow(
    'does not list encoding profiles.',
  );
});
