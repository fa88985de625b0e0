/** Which encoding profiles a claim package fits (merkle-claims section 7). */
import type { ClaimPackage } from './claim-package.js';
import { inkLeaf, type InkLeafFields } from './ink-leaf.js';
import type { Profile } from './profile.js';
import { verifyProof, verifyProofOfSomeTree, type MerkleProof } from './proof.js';
import { decodeAccount } from './ss58.js';

/** What the claim is checked against, none of it from the package. */
export interface PublishedEpoch {
  /** 32 bytes in hex. */
  readonly root: string;
  /** Null when it is not known; then some number of leaves must fit. */
  readonly leafCount: number | null;
  /** SS58 address of the claim contract; null when it is not known, and profiles that need it cannot match. */
  readonly contract: string | null;
}

/**
 * The profiles under which the package proves its leaf, in the order given. Empty when its root is
 * not the published one. A match by accident is impossible in practice, so any match shows how leaves
 * are made; several may match, because a short path does not show every rule.
 */
export function matchProfiles(
  claim: ClaimPackage,
  published: PublishedEpoch,
  profiles: readonly Profile[],
): Profile[] {
  const root = fromHex(published.root);
  if (Buffer.compare(fromHex(claim.root), root) !== 0) return [];
  const [hotkey, recipient] = [decodeAccount(claim.hotkey), decodeAccount(claim.recipient)];
  if (hotkey === null || recipient === null) return [];
  const fields: InkLeafFields = {
    epoch: BigInt(claim.epoch),
    index: claim.index,
    hotkey,
    recipient,
    amount: BigInt(claim.amount),
  };
  const contract = published.contract === null ? null : decodeAccount(published.contract);
  const siblings = claim.proof.map(fromHex);

  return profiles.filter((profile) => {
    const leaf = inkLeaf(profile, fields, contract);
    if (leaf === null) return false;
    const proof: MerkleProof = { leaf, index: claim.index, siblings, root };
    const rules = { ...profile, taggedNodes: profile.tagging === 'tagged' };
    return published.leafCount === null
      ? verifyProofOfSomeTree(rules, proof)
      : verifyProof(rules, proof, published.leafCount);
  });
}

function fromHex(text: string): Buffer {
  return Buffer.from(text.replace(/^0x/i, ''), 'hex');
}
