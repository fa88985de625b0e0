/**
 * Reward trees as the Pool builds them: leaf encodings, nodes and proofs of the six ink candidate
 * profiles (merkle-claims 7 and 13). Which of them production uses is not public; the profile is a
 * setting of the devnet.
 */
import { blake2AsU8a } from '@polkadot/util-crypto';
import { publicKeyOf } from '../auth/signature.js';

interface MerkleRules {
  /** Whether the leaf holds the hotkey: layout E.I.H.R.A, otherwise E.I.R.A. */
  readonly withHotkey: boolean;
  readonly pairs: 'sorted' | 'positional';
  readonly odd: 'promote' | 'duplicate';
}

export const MERKLE_PROFILES = {
  'ink-cum-sorted-promote': { withHotkey: true, pairs: 'sorted', odd: 'promote' },
  'ink-cum-sorted-duplicate': { withHotkey: true, pairs: 'sorted', odd: 'duplicate' },
  'ink-cum-positional-promote': { withHotkey: true, pairs: 'positional', odd: 'promote' },
  'ink-cum-positional-duplicate': { withHotkey: true, pairs: 'positional', odd: 'duplicate' },
  'ink-epoch-sorted-promote': { withHotkey: false, pairs: 'sorted', odd: 'promote' },
  'ink-epoch-positional-duplicate': { withHotkey: false, pairs: 'positional', odd: 'duplicate' },
} as const satisfies Record<string, MerkleRules>;

export type MerkleProfile = keyof typeof MERKLE_PROFILES;

/** One payee of an epoch; its index is its place in the list. */
export interface RewardLeaf {
  readonly hotkey: string;
  readonly recipientColdkey: string;
  /** Base units, rao of alpha. */
  readonly amount: bigint;
}

export interface RewardTree {
  /** `0x` and 64 hex digits, as are the leaves and the proof elements. */
  readonly root: string;
  readonly leaves: readonly string[];
  /** Siblings from the leaf level upward, by leaf index. */
  readonly proofs: readonly (readonly string[])[];
}

/** The tree over the leaves in list order. Throws RangeError for an empty list or a bad leaf. */
export function buildRewardTree(
  profile: MerkleProfile,
  epoch: bigint,
  payees: readonly RewardLeaf[],
): RewardTree {
  const rules: MerkleRules = MERKLE_PROFILES[profile];
  if (payees.length === 0) throw new RangeError('an epoch needs at least one leaf');
  const leaves = payees.map((payee, index) =>
    blake2AsU8a(leafPreimage(rules, epoch, index, payee), 256),
  );
  const levels: Uint8Array[][] = [leaves];
  for (let level = leaves; level.length > 1;) {
    level = nextLevel(rules, level);
    levels.push(level);
  }
  return {
    root: toHex(levels.at(-1)?.[0] ?? new Uint8Array()),
    leaves: leaves.map(toHex),
    proofs: leaves.map((_, index) => proofOf(rules, levels, index).map(toHex)),
  };
}

function nextLevel(rules: MerkleRules, level: readonly Uint8Array[]): Uint8Array[] {
  const next: Uint8Array[] = [];
  for (let at = 0; at < level.length; at += 2) {
    const left = level[at] ?? new Uint8Array();
    const right = level[at + 1];
    if (right !== undefined) next.push(node(rules, left, right));
    else next.push(rules.odd === 'duplicate' ? node(rules, left, left) : left);
  }
  return next;
}

function node(rules: MerkleRules, left: Uint8Array, right: Uint8Array): Uint8Array {
  const ordered =
    rules.pairs === 'sorted' && Buffer.compare(left, right) > 0 ? [right, left] : [left, right];
  return blake2AsU8a(Buffer.concat(ordered), 256);
}

function proofOf(rules: MerkleRules, levels: readonly Uint8Array[][], index: number): Uint8Array[] {
  const proof: Uint8Array[] = [];
  let at = index;
  for (const level of levels.slice(0, -1)) {
    const sibling = level[at ^ 1] ?? (rules.odd === 'duplicate' ? level[at] : undefined);
    if (sibling !== undefined) proof.push(sibling);
    at >>= 1;
  }
  return proof;
}

function leafPreimage(
  rules: MerkleRules,
  epoch: bigint,
  index: number,
  payee: RewardLeaf,
): Uint8Array {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(epoch, 0);
  head.writeUInt32LE(index, 8);
  const amount = Buffer.alloc(8);
  amount.writeBigUInt64LE(payee.amount, 0);
  const hotkey = rules.withHotkey ? account(payee.hotkey) : new Uint8Array();
  return Buffer.concat([head, hotkey, account(payee.recipientColdkey), amount]);
}

function account(address: string): Uint8Array {
  const publicKey = publicKeyOf(address);
  if (publicKey === null) throw new RangeError(`not an SS58 address with prefix 42: ${address}`);
  return publicKey;
}

function toHex(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).toString('hex')}`;
}
