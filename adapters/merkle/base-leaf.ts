/** The leaves of the Base contracts, whose format is published (merkle-claims section 6). */
import { hashBytes } from './hash.js';

export type BaseLeafFields =
  | {
      readonly kind: 'genesis';
      /** 20-byte address, hex. */
      readonly account: string;
      readonly amount: bigint;
      /** 32 bytes, hex. */
      readonly allocationHash: string;
    }
  | {
      readonly kind: 'emission';
      readonly epoch: bigint;
      readonly offchainLaneId: string;
      readonly account: string;
      readonly amount: bigint;
      readonly rewardHash: string;
    };

/** Standard ABI encoding (not packed): 192 bytes for a genesis claim, 256 for an emission claim. */
export function baseLeafPreimage(fields: BaseLeafFields): Uint8Array {
  if (fields.kind === 'genesis') {
    return encodeAbi('SOTA_GENESIS_CLAIM', [
      word(fields.account, 20),
      wordOf(fields.amount),
      word(fields.allocationHash, 32),
    ]);
  }
  return encodeAbi('SOTA_EMISSION_CLAIM', [
    wordOf(fields.epoch),
    word(fields.offchainLaneId, 32),
    word(fields.account, 20),
    wordOf(fields.amount),
    word(fields.rewardHash, 32),
  ]);
}

export function baseLeaf(fields: BaseLeafFields): Uint8Array {
  return hashBytes('keccak-256', baseLeafPreimage(fields));
}

const WORD_BYTES = 32;

/** One leading string and then static words: the string's offset, the words, its length, its bytes. */
function encodeAbi(domain: string, words: readonly Uint8Array[]): Uint8Array {
  const text = Buffer.from(domain, 'ascii');
  const padded = Buffer.alloc(Math.ceil(text.length / WORD_BYTES) * WORD_BYTES);
  text.copy(padded);
  const offset = wordOf(BigInt((words.length + 1) * WORD_BYTES));
  return Buffer.concat([offset, ...words, wordOf(BigInt(text.length)), padded]);
}

function wordOf(value: bigint): Uint8Array {
  if (value < 0n || value >= 1n << 256n) throw new RangeError(`${value} is not a uint256`);
  return Buffer.from(value.toString(16).padStart(WORD_BYTES * 2, '0'), 'hex');
}

function word(hex: string, sizeBytes: number): Uint8Array {
  const digits = hex.replace(/^0x/, '');
  if (!/^[0-9a-f]*$/i.test(digits) || digits.length !== sizeBytes * 2) {
    throw new RangeError(`${hex} is not ${sizeBytes} bytes in hex`);
  }
  return Buffer.from(digits.padStart(WORD_BYTES * 2, '0'), 'hex');
}
