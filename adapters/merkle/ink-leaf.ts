import { hashBytes } from './hash.js';
import type { Profile } from './profile.js';

/** What the contract's claim message carries besides the proof, decoded (merkle-claims section 4). */
export interface InkLeafFields {
  /** u64. */
  readonly epoch: bigint;
  /** u32. */
  readonly index: number;
  readonly hotkey: Uint8Array;
  readonly recipient: Uint8Array;
  /** u64, base units of SN94 alpha. */
  readonly amount: bigint;
}

const LEAF_TAG = Uint8Array.of(0);

/**
 * The bytes that a profile hashes into a leaf. Null when the profile needs the claim contract's
 * account id and it is not known.
 */
export function inkLeafPreimage(
  profile: Profile,
  fields: InkLeafFields,
  contract: Uint8Array | null,
): Uint8Array | null {
  if (profile.prefix === 'contract' && contract === null) return null;
  const parts: Uint8Array[] = [];
  if (profile.tagging === 'tagged') parts.push(LEAF_TAG);
  if (profile.prefix === 'contract' && contract !== null) parts.push(contract);
  for (const field of profile.layout.split('.')) parts.push(encodeField(field, fields));
  return Buffer.concat(parts);
}

/** The leaf of a profile; null as for `inkLeafPreimage`. */
export function inkLeaf(
  profile: Profile,
  fields: InkLeafFields,
  contract: Uint8Array | null,
): Uint8Array | null {
  const preimage = inkLeafPreimage(profile, fields, contract);
  if (preimage === null) return null;
  const once = hashBytes(profile.hash, preimage);
  return profile.leafHash === 'double' ? hashBytes(profile.hash, once) : once;
}

/** SCALE: integers little-endian in their full width, account ids as they are. */
function encodeField(field: string, fields: InkLeafFields): Uint8Array {
  switch (field) {
    case 'E':
      return encodeU64(fields.epoch);
    case 'I': {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(fields.index);
      return bytes;
    }
    case 'H':
      return fields.hotkey;
    case 'R':
      return fields.recipient;
    case 'A':
      return encodeU64(fields.amount);
    default:
      throw new Error(`no leaf field ${field}`);
  }
}

function encodeU64(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}
