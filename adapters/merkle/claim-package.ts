/** A claim package of the Pool, read strictly (merkle-claims sections 2.2 and 12.2). */
import { isLosslessNumber } from 'lossless-json';
import { isJsonObject } from '../../core/json.js';
import { DIGEST_BYTES } from './hash.js';
import { decodeAccount } from './ss58.js';

export interface ClaimPackage {
  /** u64, decimal. */
  readonly epoch: string;
  /** u32, position of the leaf. */
  readonly index: number;
  /** SS58 address, prefix 42. */
  readonly hotkey: string;
  /** SS58 address, prefix 42. */
  readonly recipient: string;
  /** The member that named the recipient; `hotkey` when none did, as the upstream client falls back. */
  readonly recipientSource: 'recipient_coldkey' | 'recipient_address' | 'hotkey';
  /** u64, decimal: cumulative, in base units of SN94 alpha. */
  readonly amount: string;
  /** Siblings, leaf side first, `0x` and 64 lower-case hex digits each. */
  readonly proof: readonly string[];
  /** The root that the Pool says it published. To be compared, never to be trusted. */
  readonly root: string;
}

type PackageProblem =
  | 'not_an_object'
  | 'epoch_not_integer'
  | 'index_not_integer'
  | 'hotkey_not_address'
  | 'no_recipient'
  | 'recipient_not_address'
  | 'recipient_conflict'
  | 'amount_not_integer'
  | 'amount_conflict'
  | 'proof_not_list'
  | 'proof_too_long'
  | 'proof_element_not_32_bytes'
  | 'root_not_32_bytes';

export type ParsedPackage =
  | { readonly ok: true; readonly value: ClaimPackage }
  | { readonly ok: false; readonly problem: PackageProblem; readonly message: string };

const U32_MAX = 0xffff_ffffn;
const U64_MAX = 0xffff_ffff_ffff_ffffn;
/** A tree of u32 leaves is at most this high. */
const MAX_PROOF_ELEMENTS = 32;

class Problem extends Error {
  readonly problem: PackageProblem;
  constructor(problem: PackageProblem, message: string) {
    super(message);
    this.problem = problem;
  }
}

/**
 * Reads a package out of JSON that was parsed losslessly. Two names of one member must agree, where
 * the upstream client silently takes the first.
 */
export function parseClaimPackage(value: unknown): ParsedPackage {
  try {
    return { ok: true, value: readPackage(value) };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { ok: false, problem: error.problem, message: error.message };
  }
}

/** A 32-byte value in hex, with or without `0x`, as `0x` and lower-case digits; null when it is not one. */
export function normalizeDigest(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  const digits = value.replace(/^0x/i, '').toLowerCase();
  return /^[0-9a-f]+$/.test(digits) && digits.length === DIGEST_BYTES * 2 ? `0x${digits}` : null;
}

/** An unsigned integer, as a lossless number or as decimal text, up to `most`; null otherwise. */
export function readUnsigned(value: unknown, most: bigint = U64_MAX): bigint | null {
  const text = isLosslessNumber(value) ? value.value : value;
  if (typeof text !== 'string' || !/^(?:0|[1-9]\d{0,19})$/.test(text)) return null;
  const number = BigInt(text);
  return number <= most ? number : null;
}

function readPackage(value: unknown): ClaimPackage {
  if (!isJsonObject(value)) throw new Problem('not_an_object', 'it is not a JSON object');
  const member = (name: string): unknown => (Object.hasOwn(value, name) ? value[name] : undefined);

  const epoch = readUnsigned(member('epoch'));
  if (epoch === null)
    throw new Problem('epoch_not_integer', `epoch is ${show(member('epoch'))}, not a u64`);
  const index = readUnsigned(member('index'), U32_MAX);
  if (index === null)
    throw new Problem('index_not_integer', `index is ${show(member('index'))}, not a u32`);

  const { recipient, recipientSource } = readRecipient(member);
  const hotkey = readAddress(member('hotkey'), 'hotkey', 'hotkey_not_address');
  const amount = readAmount(member);
  const root = normalizeDigest(member('root'));
  if (root === null)
    throw new Problem('root_not_32_bytes', `root is ${show(member('root'))}, not 32 bytes in hex`);
  return {
    epoch: epoch.toString(),
    index: Number(index),
    hotkey,
    recipient,
    recipientSource,
    amount: amount.toString(),
    proof: readProof(member('proof')),
    root,
  };
}

function readRecipient(
  member: (name: string) => unknown,
): Pick<ClaimPackage, 'recipient' | 'recipientSource'> {
  const names = (['recipient_coldkey', 'recipient_address', 'hotkey'] as const).filter(
    (name) => !isAbsent(member(name)),
  );
  const source = names[0];
  if (source === undefined) {
    throw new Problem('no_recipient', 'it has neither recipient_coldkey nor recipient_address');
  }
  const recipient = readAddress(member(source), source, 'recipient_not_address');
  if (source === 'recipient_coldkey' && names[1] === 'recipient_address') {
    const other = member('recipient_address');
    if (other !== recipient) {
      throw new Problem(
        'recipient_conflict',
        `recipient_coldkey is ${recipient} and recipient_address is ${show(other)}`,
      );
    }
  }
  return { recipient, recipientSource: source };
}

function readAmount(member: (name: string) => unknown): bigint {
  const [amount, units] = [member('amount'), member('amount_units')];
  const value = readUnsigned(isAbsent(amount) ? units : amount);
  if (value === null) {
    throw new Problem(
      'amount_not_integer',
      `amount is ${show(isAbsent(amount) ? units : amount)}, not a u64`,
    );
  }
  if (!isAbsent(amount) && !isAbsent(units) && readUnsigned(units) !== value) {
    throw new Problem('amount_conflict', `amount is ${value} and amount_units is ${show(units)}`);
  }
  return value;
}

function readProof(value: unknown): string[] {
  if (!Array.isArray(value)) throw new Problem('proof_not_list', 'proof is not a list');
  if (value.length > MAX_PROOF_ELEMENTS) {
    throw new Problem(
      'proof_too_long',
      `proof has ${value.length} elements, at most ${MAX_PROOF_ELEMENTS} are possible`,
    );
  }
  return value.map((element: unknown, position) => {
    const digest = normalizeDigest(element);
    if (digest === null) {
      throw new Problem(
        'proof_element_not_32_bytes',
        `proof[${position}] is ${show(element)}, not 32 bytes in hex`,
      );
    }
    return digest;
  });
}

function readAddress(value: unknown, name: string, problem: PackageProblem): string {
  if (typeof value === 'string' && decodeAccount(value) !== null) return value;
  throw new Problem(problem, `${name} is ${show(value)}, not an SS58 address with prefix 42`);
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

/** A short, printable form of an untrusted value. */
function show(value: unknown): string {
  if (value === undefined) return 'missing';
  if (isLosslessNumber(value)) return value.value.slice(0, 40);
  return (JSON.stringify(value) ?? typeof value).slice(0, 80);
}
