import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MERKLE_PROFILES, buildRewardTree, type MerkleProfile } from './reward-tree.js';

interface VectorTree {
  id: string;
  profile: string;
  root: string;
  leaves: {
    fields: { epoch: string; hotkey?: string; recipient_coldkey: string; amount: string };
    leaf: string;
    proof: string[];
  }[];
}
const vectors = JSON.parse(
  readFileSync(new URL('../../test/fixtures/merkle/vectors.json', import.meta.url), 'utf8'),
) as { trees: VectorTree[] };
const inkTrees = vectors.trees.filter((tree) => tree.profile in MERKLE_PROFILES);

describe('reward trees', () => {
  it('know every ink profile of the vectors', () => {
    expect(inkTrees).toHaveLength(30);
    expect(new Set(inkTrees.map((tree) => tree.profile)).size).toBe(
      Object.keys(MERKLE_PROFILES).length,
    );
  });

  it.each(inkTrees)('reproduce root, leaves and proofs of $id', (tree) => {
    const epoch = BigInt(tree.leaves[0]?.fields.epoch ?? '0');
    const built = buildRewardTree(
      tree.profile as MerkleProfile,
      epoch,
      tree.leaves.map(({ fields }) => ({
        hotkey: fields.hotkey ?? '',
        recipientColdkey: fields.recipient_coldkey,
        amount: BigInt(fields.amount),
      })),
    );
    expect(built).toEqual({
      root: tree.root,
      leaves: tree.leaves.map((leaf) => leaf.leaf),
      proofs: tree.leaves.map((leaf) => leaf.proof),
    });
  });

  it('refuse an epoch without leaves and a leaf without a valid address', () => {
    expect(() => buildRewardTree('ink-cum-sorted-promote', 1n, [])).toThrow('at least one leaf');
    const payee = { hotkey: 'nobody', recipientColdkey: 'nobody', amount: 1n };
    expect(() => buildRewardTree('ink-cum-sorted-promote', 1n, [payee])).toThrow(
      'not an SS58 address with prefix 42: nobody',
    );
  });
});
