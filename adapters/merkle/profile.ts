/**
 * How a claim contract of the ink family may build its leaves and its tree. Its source is not public
 * (merkle-claims section 7), so a profile is found by trying, not by reading.
 */
import { HASHES, type HashName } from './hash.js';

/** E epoch u64, I index u32, H hotkey, R recipient, A amount u64: SCALE fields in this order. */
const LAYOUTS = ['E.I.H.R.A', 'E.I.R.A', 'I.H.R.A', 'I.R.A', 'E.H.R.A', 'H.R.A', 'R.A'] as const;
const PAIR_ORDERS = ['sorted', 'positional'] as const;
const ODD_RULES = ['promote', 'duplicate'] as const;
const TAGGINGS = ['plain', 'tagged'] as const;
const LEAF_HASHES = ['single', 'double'] as const;
const PREFIXES = ['none', 'contract'] as const;

export type PairOrder = (typeof PAIR_ORDERS)[number];
export type OddRule = (typeof ODD_RULES)[number];

export interface Profile {
  /** `hash|layout|pair order|odd rule|tagging|leaf hash|prefix`. */
  readonly id: string;
  readonly hash: HashName;
  readonly layout: (typeof LAYOUTS)[number];
  readonly pairOrder: PairOrder;
  readonly oddRule: OddRule;
  /** `tagged`: byte 0 before a leaf preimage, byte 1 before a node preimage. */
  readonly tagging: (typeof TAGGINGS)[number];
  /** `double`: the hash of the hash; a tag stands inside only. */
  readonly leafHash: (typeof LEAF_HASHES)[number];
  /** `contract`: the account id of the claim contract before the fields, after the tag. */
  readonly prefix: (typeof PREFIXES)[number];
}

/** The whole grid of 672 profiles, in the order of the fixtures. */
export const PROFILES: readonly Profile[] = HASHES.flatMap((hash) =>
  LAYOUTS.flatMap((layout) =>
    PAIR_ORDERS.flatMap((pairOrder) =>
      ODD_RULES.flatMap((oddRule) =>
        TAGGINGS.flatMap((tagging) =>
          LEAF_HASHES.flatMap((leafHash) =>
            PREFIXES.map((prefix) => ({
              id: [hash, layout, pairOrder, oddRule, tagging, leafHash, prefix].join('|'),
              hash,
              layout,
              pairOrder,
              oddRule,
              tagging,
              leafHash,
              prefix,
            })),
          ),
        ),
      ),
    ),
  ),
);

/** Short names of the likeliest profiles; none of them is confirmed. */
const NAMED: { readonly [name: string]: string } = {
  'ink-cum-sorted-promote': 'blake2b-256|E.I.H.R.A|sorted|promote|plain|single|none',
  'ink-cum-sorted-duplicate': 'blake2b-256|E.I.H.R.A|sorted|duplicate|plain|single|none',
  'ink-cum-positional-promote': 'blake2b-256|E.I.H.R.A|positional|promote|plain|single|none',
  'ink-cum-positional-duplicate': 'blake2b-256|E.I.H.R.A|positional|duplicate|plain|single|none',
  'ink-epoch-sorted-promote': 'blake2b-256|E.I.R.A|sorted|promote|plain|single|none',
  'ink-epoch-positional-duplicate': 'blake2b-256|E.I.R.A|positional|duplicate|plain|single|none',
};

/** A profile by its id or by its short name; null when there is none such. */
export function findProfile(name: string): Profile | null {
  const id = Object.hasOwn(NAMED, name) ? NAMED[name] : name;
  return PROFILES.find((profile) => profile.id === id) ?? null;
}

/** The short name where there is one, else the id. */
export function profileName(profile: Profile): string {
  return Object.entries(NAMED).find(([, id]) => id === profile.id)?.[0] ?? profile.id;
}
