/** The project's Merkle vectors (test/fixtures/merkle): every leaf, every forgery, every probe case. */
import { readFileSync } from 'node:fs';
import { parse } from 'lossless-json';
import { expect, test } from 'vitest';
import { baseLeafPreimage, baseLeaf, type BaseLeafFields } from './base-leaf.js';
import { parseClaimPackage, readUnsigned, type ClaimPackage } from './claim-package.js';
import { matchProfiles } from './detection.js';
import { inkLeaf, inkLeafPreimage } from './ink-leaf.js';
import { findProfile, PROFILES, type OddRule, type PairOrder } from './profile.js';
import { verifyProof, verifyProofOfSomeTree, type TreeRules } from './proof.js';
import { decodeAccount } from './ss58.js';

type Fields = Record<string, string | number>;
interface Tampered {
  name: string;
  from_leaf: number;
  fields?: Fields;
  index?: number;
  proof?: string[];
  root?: string;
}
interface Tree {
  id: string;
  profile: string;
  leaf_count: number;
  root: string;
  leaves: { index: number; fields: Fields; preimage: string; leaf: string; proof: string[] }[];
  tampered: Tampered[];
}
interface ProbeCase {
  name: string;
  contract: string;
  package: Record<string, unknown>;
  onchain: { root: string; num_of_leaves: number };
  expect_matches: string[];
}
interface Vectors {
  profiles: Record<
    string,
    { hash: string; layout?: string; pair_order: PairOrder; odd_rule: OddRule }
  >;
  trees: Tree[];
  probe: { grid: Record<string, string[] | Record<string, string>>; cases: ProbeCase[] };
  ss58: { address: string; account_id: string }[];
  ss58_invalid: { address: string; why: string }[];
  deltas: { amount: string; action: string }[];
}

const text = readFileSync(
  new URL('../../test/fixtures/merkle/vectors.json', import.meta.url),
  'utf8',
);
const vectors = JSON.parse(text) as Vectors;

function fromHex(hex: string): Buffer {
  return Buffer.from(hex.replace(/^0x/, ''), 'hex');
}

function account(address: string | number | undefined): Uint8Array {
  const decoded = decodeAccount(String(address));
  if (decoded === null) throw new Error(`${address} is not an address`);
  return decoded;
}

interface Encoded {
  readonly preimage: Uint8Array;
  readonly leaf: Uint8Array;
}

function encode(profileName: string, fields: Fields): Encoded {
  const amount = BigInt(fields['amount'] ?? 0);
  if (profileName.startsWith('evm-')) {
    const common = { account: String(fields['account']), amount };
    const base: BaseLeafFields =
      profileName === 'evm-genesis'
        ? { kind: 'genesis', ...common, allocationHash: String(fields['allocation_hash']) }
        : {
            kind: 'emission',
            ...common,
            epoch: BigInt(fields['epoch'] ?? 0),
            offchainLaneId: String(fields['offchain_lane_id']),
            rewardHash: String(fields['reward_hash']),
          };
    return { preimage: baseLeafPreimage(base), leaf: baseLeaf(base) };
  }
  const profile = findProfile(profileName);
  if (profile === null) throw new Error(`no profile ${profileName}`);
  const ink = {
    epoch: BigInt(fields['epoch'] ?? 0),
    index: Number(fields['index']),
    // Per-epoch leaves have no hotkey.
    hotkey: fields['hotkey'] === undefined ? new Uint8Array(32) : account(fields['hotkey']),
    recipient: account(fields['recipient_coldkey']),
    amount,
  };
  const preimage = inkLeafPreimage(profile, ink, null);
  const leaf = inkLeaf(profile, ink, null);
  if (preimage === null || leaf === null) throw new Error(`${profileName} needs a contract`);
  return { preimage, leaf };
}

function rulesOf(profileName: string): TreeRules {
  const described = vectors.profiles[profileName];
  if (described === undefined) throw new Error(`no profile ${profileName}`);
  const profile = findProfile(profileName);
  const rules = {
    hash: profile?.hash ?? 'keccak-256',
    pairOrder: profile?.pairOrder ?? 'sorted',
    oddRule: profile?.oddRule ?? 'promote',
    taggedNodes: false,
  };
  expect([rules.hash, rules.pairOrder, rules.oddRule, profile?.layout]).toEqual([
    described.hash,
    described.pair_order,
    described.odd_rule,
    described.layout,
  ]);
  return rules;
}

function claimPackage(value: unknown): ClaimPackage {
  const parsed = parseClaimPackage(parse(JSON.stringify(value)));
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

test('all 155 leaves have their preimage, their hash and a proof that verifies', () => {
  let verified = 0;
  for (const tree of vectors.trees) {
    const rules = rulesOf(tree.profile);
    for (const leaf of tree.leaves) {
      const encoded = encode(tree.profile, leaf.fields);
      const name = `${tree.id} leaf ${leaf.index}`;
      expect(Buffer.from(encoded.preimage).toString('hex'), name).toBe(leaf.preimage.slice(2));
      expect(Buffer.from(encoded.leaf).toString('hex'), name).toBe(leaf.leaf.slice(2));
      const proof = {
        leaf: encoded.leaf,
        index: leaf.index,
        siblings: leaf.proof.map(fromHex),
        root: fromHex(tree.root),
      };
      expect(verifyProof(rules, proof, tree.leaf_count), name).toBe(true);
      expect(verifyProofOfSomeTree(rules, proof), `${name}, leaf count unknown`).toBe(true);
      verified += 1;
    }
  }
  expect(verified).toBe(155);
});

test('all 451 forgeries are refused', () => {
  let refused = 0;
  for (const tree of vectors.trees) {
    const rules = rulesOf(tree.profile);
    for (const forgery of tree.tampered) {
      const original = tree.leaves[forgery.from_leaf];
      if (original === undefined) throw new Error(`${tree.id} has no leaf ${forgery.from_leaf}`);
      const { leaf } = encode(tree.profile, { ...original.fields, ...forgery.fields });
      const proof = {
        leaf,
        index: forgery.index ?? original.index,
        siblings: (forgery.proof ?? original.proof).map(fromHex),
        root: fromHex(forgery.root ?? tree.root),
      };
      const name = `${tree.id} ${forgery.name}`;
      expect(verifyProof(rules, proof, tree.leaf_count), name).toBe(false);
      refused += 1;
    }
  }
  expect(refused).toBe(451);
});

test('the grid has the 672 profiles that the fixtures describe', () => {
  const sizes = Object.values(vectors.probe.grid)
    .filter((values) => typeof values !== 'string')
    .map((values) => (Array.isArray(values) ? values.length : Object.keys(values).length));
  expect(sizes.reduce((product, size) => product * size, 1)).toBe(672);
  expect(new Set(PROFILES.map((profile) => profile.id)).size).toBe(672);
});

test.each(vectors.probe.cases)('probe: $name', (probe) => {
  const published = {
    root: probe.onchain.root,
    leafCount: probe.onchain.num_of_leaves,
    contract: probe.contract,
  };
  const matches = matchProfiles(claimPackage(probe.package), published, PROFILES);
  expect(matches.map((profile) => profile.id)).toEqual(probe.expect_matches);
});

test('there are 9 probe cases', () => {
  expect(vectors.probe.cases).toHaveLength(9);
});

test('without a leaf count every profile that truly matches is still found', () => {
  for (const probe of vectors.probe.cases) {
    const published = { root: probe.onchain.root, leafCount: null, contract: probe.contract };
    const ids = matchProfiles(claimPackage(probe.package), published, PROFILES).map(({ id }) => id);
    expect(ids, probe.name).toEqual(expect.arrayContaining(probe.expect_matches));
    if (probe.expect_matches.length === 0) expect(ids, probe.name).toEqual([]);
  }
});

test('without the claim contract the profiles that hash its account id cannot match', () => {
  for (const probe of vectors.probe.cases) {
    const published = {
      root: probe.onchain.root,
      leafCount: probe.onchain.num_of_leaves,
      contract: null,
    };
    const ids = matchProfiles(claimPackage(probe.package), published, PROFILES).map(({ id }) => id);
    expect(ids).toEqual(probe.expect_matches.filter((id) => id.endsWith('|none')));
  }
});

test.each(vectors.ss58)('the account id of $address', ({ address, account_id }) => {
  expect(Buffer.from(account(address)).toString('hex')).toBe(account_id.slice(2));
});

test.each([...vectors.ss58_invalid, { address: `0x${'11'.repeat(32)}`, why: 'a bare account id' }])(
  'not an address of this network: $why',
  ({ address }) => {
    expect(decodeAccount(address)).toBeNull();
  },
);

test('an amount is refused exactly where it is not a u64', () => {
  for (const { amount, action } of vectors.deltas) {
    const expected = action === 'reject_not_u64' ? null : BigInt(amount);
    expect(readUnsigned(amount), amount).toBe(expected);
  }
});
