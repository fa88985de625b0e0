/**
 * Reward epochs: real trees over what accepted results earned, cumulative per hotkey, published
 * once and never changed (merkle-claims 8).
 *
 * So that proofs are not trivial every epoch also holds a few synthetic miners. Their hotkeys are
 * hashes of a text, so nobody has their keys; they are marked `synthetic` in the epoch's metadata.
 */
import { blake2AsU8a, encodeAddress } from '@polkadot/util-crypto';
import { buildRewardTree, type MerkleProfile, type RewardLeaf } from '../merkle/reward-tree.js';
import { toTimestamp, type DevnetClock } from '../state/clock.js';
import type { DevnetDatabase } from '../state/database.js';

/** What one result earned; the Pool pays each of them once. */
export interface Reward {
  readonly submissionId: string;
  readonly shares: readonly { readonly hotkey: string; readonly units: number }[];
}

interface EpochRecord {
  /** The epoch's number in decimal. */
  readonly id: string;
  readonly profile: MerkleProfile;
  readonly published_at: string;
  readonly submission_ids: readonly string[];
  readonly payees: readonly {
    readonly hotkey: string;
    readonly recipient_coldkey: string;
    readonly amount: string;
  }[];
}

export interface ClaimPackage {
  readonly epoch: number;
  readonly index: number;
  readonly hotkey: string;
  readonly recipient_coldkey: string;
  readonly amount: bigint;
  readonly proof: readonly string[];
  readonly root: string;
}

interface EpochMetadata {
  readonly epoch: number;
  readonly root: string;
  readonly num_of_leaves: number;
  readonly total_rao: bigint;
  readonly published_at: string;
  readonly synthetic_hotkeys: readonly string[];
}

export interface Epochs {
  /** Publishes an epoch with what is new; its number, or null when nothing is. */
  publish(): number | null;
  numbers(): number[];
  metadata(epoch: number): EpochMetadata | null;
  claimPackage(epoch: number, hotkey: string): ClaimPackage | null;
  recipientOf(hotkey: string): string | null;
  setRecipient(hotkey: string, recipientColdkey: string): void;
}

const SYNTHETIC_GROWTH_RAO = [125_000_000n, 310_000_000n, 47_000_001n, 1_000_000_000n] as const;

function syntheticAddress(name: string): string {
  return encodeAddress(blake2AsU8a(`adit devnet synthetic ${name}`, 256), 42);
}

const SYNTHETIC_MINERS = SYNTHETIC_GROWTH_RAO.map((growthRao, index) => ({
  hotkey: syntheticAddress(`hotkey ${index}`),
  recipientColdkey: syntheticAddress(`coldkey ${index}`),
  growthRao,
}));

export function createEpochs(parts: {
  database: DevnetDatabase;
  clock: DevnetClock;
  rewards: () => readonly Reward[];
  settings: () => { readonly merkleProfile: MerkleProfile; readonly rewardUnitRao: number };
}): Epochs {
  const { database, clock } = parts;
  const epochs = database.table<EpochRecord>('epoch');
  const recipients = database.table<{ id: string; recipient_coldkey: string }>('recipient');
  const recipientOf = (hotkey: string): string | null =>
    recipients.get(hotkey)?.recipient_coldkey ?? null;
  const treeOf = (record: EpochRecord): ReturnType<typeof buildRewardTree> =>
    buildRewardTree(record.profile, BigInt(record.id), record.payees.map(toLeaf));

  return {
    publish: () => {
      const published = epochs.list();
      const paid = new Set(published.flatMap((epoch) => epoch.submission_ids));
      const fresh = parts.rewards().filter((reward) => !paid.has(reward.submissionId));
      if (fresh.length === 0) return null;
      const { merkleProfile, rewardUnitRao } = parts.settings();
      const amounts = new Map(
        published.at(-1)?.payees.map(({ hotkey, amount }) => [hotkey, BigInt(amount)]),
      );
      const pay = (hotkey: string, rao: bigint): void => {
        amounts.set(hotkey, (amounts.get(hotkey) ?? 0n) + rao);
      };
      for (const miner of SYNTHETIC_MINERS) pay(miner.hotkey, miner.growthRao);
      for (const { hotkey, units } of fresh.flatMap((reward) => reward.shares)) {
        pay(hotkey, BigInt(Math.round(units * rewardUnitRao)));
      }
      const epoch = published.length + 1;
      epochs.insert({
        id: String(epoch),
        profile: merkleProfile,
        published_at: toTimestamp(clock.nowMs()),
        submission_ids: fresh.map((reward) => reward.submissionId),
        payees: [...amounts]
          .sort(([left], [right]) => (left < right ? -1 : 1))
          .map(([hotkey, amount]) => ({
            hotkey,
            recipient_coldkey: recipientOf(hotkey) ?? syntheticRecipient(hotkey) ?? hotkey,
            amount: amount.toString(),
          })),
      });
      return epoch;
    },
    numbers: () => epochs.list().map((epoch) => Number(epoch.id)),
    metadata: (epoch) => {
      const record = epochs.get(String(epoch));
      if (record === null) return null;
      return {
        epoch,
        root: treeOf(record).root,
        num_of_leaves: record.payees.length,
        total_rao: record.payees.reduce((total, payee) => total + BigInt(payee.amount), 0n),
        published_at: record.published_at,
        synthetic_hotkeys: SYNTHETIC_MINERS.map((miner) => miner.hotkey),
      };
    },
    claimPackage: (epoch, hotkey) => {
      const record = epochs.get(String(epoch));
      const index = record?.payees.findIndex((payee) => payee.hotkey === hotkey) ?? -1;
      const payee = record?.payees[index];
      if (record === null || payee === undefined) return null;
      const tree = treeOf(record);
      return {
        epoch,
        index,
        hotkey,
        recipient_coldkey: payee.recipient_coldkey,
        amount: BigInt(payee.amount),
        proof: tree.proofs[index] ?? [],
        root: tree.root,
      };
    },
    recipientOf,
    setRecipient: (hotkey, recipientColdkey) => {
      const record = { id: hotkey, recipient_coldkey: recipientColdkey };
      if (recipients.get(hotkey) === null) recipients.insert(record);
      else recipients.replace(record);
    },
  };
}

function toLeaf(payee: EpochRecord['payees'][number]): RewardLeaf {
  return {
    hotkey: payee.hotkey,
    recipientColdkey: payee.recipient_coldkey,
    amount: BigInt(payee.amount),
  };
}

function syntheticRecipient(hotkey: string): string | null {
  return SYNTHETIC_MINERS.find((miner) => miner.hotkey === hotkey)?.recipientColdkey ?? null;
}
