/** Walking a Merkle proof from its leaf to the root (merkle-claims sections 6 and 7). */
import { DIGEST_BYTES, hashBytes, type HashName } from './hash.js';
import type { OddRule, PairOrder } from './profile.js';

export interface TreeRules {
  readonly hash: HashName;
  readonly pairOrder: PairOrder;
  readonly oddRule: OddRule;
  /** True when a byte 1 stands before each node preimage. */
  readonly taggedNodes: boolean;
}

export interface MerkleProof {
  readonly leaf: Uint8Array;
  /** Position of the leaf, from 0. */
  readonly index: number;
  /** Siblings, leaf side first. */
  readonly siblings: readonly Uint8Array[];
  readonly root: Uint8Array;
}

const NODE_TAG = Uint8Array.of(1);

/**
 * True when the proof leads from the leaf to the root in a tree of `leafCount` leaves, with exactly
 * the siblings that such a tree has. The walk fixes the legal length for sorted pairs as well.
 */
export function verifyProof(rules: TreeRules, proof: MerkleProof, leafCount: number): boolean {
  if (proof.index < 0 || proof.index >= leafCount) return false;
  if (proof.root.length !== DIGEST_BYTES) return false;
  if (proof.siblings.some((sibling) => sibling.length !== DIGEST_BYTES)) return false;
  const sides = siblingSides(rules.oddRule, proof.index, leafCount);
  // Before any hashing: a hostile package must not buy work with a wrong length.
  if (sides.length !== proof.siblings.length) return false;
  const root = proof.siblings.reduce(
    (node, sibling, level) =>
      hashPair(rules, sides[level] === 'left' ? [sibling, node] : [node, sibling]),
    proof.leaf,
  );
  return Buffer.compare(root, proof.root) === 0;
}

/** On which side each sibling of a path stands, leaf side first; a promoted level has none. */
function siblingSides(
  oddRule: OddRule,
  leafIndex: number,
  leafCount: number,
): ('left' | 'right')[] {
  const sides: ('left' | 'right')[] = [];
  let index = leafIndex;
  for (let count = leafCount; count > 1; count = Math.ceil(count / 2)) {
    if (index % 2 === 1) sides.push('left');
    else if (index + 1 < count || oddRule === 'duplicate') sides.push('right');
    index = Math.floor(index / 2);
  }
  return sides;
}

/**
 * As `verifyProof`, for a tree whose number of leaves is not known: true when some number of leaves
 * fits. A path is fixed by the level from which the node is the last one of its level, so there are
 * few numbers to try.
 */
export function verifyProofOfSomeTree(rules: TreeRules, proof: MerkleProof): boolean {
  const levels = Math.max(proof.siblings.length, Math.ceil(Math.log2(proof.index + 1)));
  const counts = new Set([2 ** levels]);
  for (let level = 0; level <= levels; level += 1) {
    counts.add((Math.floor(proof.index / 2 ** level) + 1) * 2 ** level);
  }
  return [...counts].some((count) => verifyProof(rules, proof, count));
}

function hashPair(rules: TreeRules, pair: readonly [Uint8Array, Uint8Array]): Uint8Array {
  const [left, right] =
    rules.pairOrder === 'sorted' && Buffer.compare(pair[0], pair[1]) > 0
      ? [pair[1], pair[0]]
      : pair;
  return hashBytes(
    rules.hash,
    Buffer.concat(rules.taggedNodes ? [NODE_TAG, left, right] : [left, right]),
  );
}
