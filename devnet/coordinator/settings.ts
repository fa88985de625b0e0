/**
 * What is not known of the production coordinator, each assumption a setting (protocol 8).
 * An operator or a test changes them while it runs: `PUT /devnet/settings`.
 */
import { z } from 'zod';
import { MERKLE_PROFILES, type MerkleProfile } from '../merkle/reward-tree.js';
import type { DevnetDatabase } from '../state/database.js';

const clientError = z.number().int().min(400).max(499);
/** Also of seconds: more than 30 years would lead times out of the calendar. */
const count = z.number().int().positive().max(1_000_000_000);
const profiles = Object.keys(MERKLE_PROFILES) as [MerkleProfile, ...MerkleProfile[]];

const settingsSchema = z.strictObject({
  signatureMode: z.enum(['recanonicalise', 'raw_bytes']).default('recanonicalise'),
  timestampWindowSeconds: count.default(300),
  /** `machine`: advancing the devnet's clock does not lock out clients whose clock is right. */
  signatureClock: z.enum(['machine', 'devnet']).default('machine'),
  refuseRepeatedSignature: z.boolean().default(false),
  stakeGate: z.boolean().default(false),
  /** Who passes the stake gate when it is on. */
  stakedHotkeys: z.array(z.string()).default([]),
  claimLifetimeSeconds: count.default(2_700),
  expiredClaimStatus: z.string().min(1).default('expired'),
  inactiveClaimStatusCode: clientError.default(409),
  secondActiveClaim: z.enum(['allowed', 'refused']).default('allowed'),
  missingIdeaStatusCode: clientError.default(422),
  missingImplementedIdeaStatusCode: clientError.default(400),
  emptySubmissionStatusCode: clientError.default(422),
  /** null leaves patches that are too large to the validator. */
  largePatchStatusCode: clientError.nullable().default(400),
  rateLimit: z
    .strictObject({
      claims: count,
      submissions: count,
      windowSeconds: count,
      retryAfterSeconds: count.default(60),
    })
    .nullable()
    .default(null),
  createdStatusCode: z.union([z.literal(200), z.literal(201)]).default(200),
  extraKeys: z.boolean().default(true),
  /** Lists show what is older than this; what changed since is shown as it was made. */
  listLagSeconds: z.number().nonnegative().max(3_600).default(0),
  listOrder: z.enum(['oldest_first', 'newest_first']).default('oldest_first'),
  jobLeaseSeconds: count.default(900),
  validatorHotkeys: z.array(z.string()).default([]),
  legacyVerify: z.boolean().default(false),
  /** How long after an acceptance the Pool's next window ends; null: only when an operator says so. */
  publishDelaySeconds: z.number().nonnegative().max(86_400).nullable().default(1),
  merkleProfile: z.enum(profiles).default('ink-cum-sorted-promote'),
  /** Base units for one accepted result; a new best earns as much again, ideas half of it. */
  rewardUnitRao: z.number().int().positive().max(1_000_000_000_000).default(250_000_000),
});

type DevnetSettings = Readonly<z.output<typeof settingsSchema>>;

export interface SettingsStore {
  read(): DevnetSettings;
  /** Merges the members given into the settings. Throws ZodError for an unknown or bad member. */
  change(members: unknown): DevnetSettings;
}

/** Settings kept in the database. */
export function createSettingsStore(database: DevnetDatabase): SettingsStore {
  let current = settingsSchema.parse(database.readValue('settings') ?? {});
  return {
    read: () => current,
    change: (members) => {
      const changes = settingsSchema.partial().parse(members);
      const given = Object.keys(z.record(z.string(), z.unknown()).parse(members));
      // `partial()` still fills in defaults, which must not undo settings that were not named.
      const named = Object.fromEntries(
        Object.entries(changes).filter(([key]) => given.includes(key)),
      );
      current = settingsSchema.parse({ ...current, ...named });
      database.writeValue('settings', current);
      return current;
    },
  };
}
