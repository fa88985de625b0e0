/** Looks for keys and tokens in text that is about to leave this machine. */
import { createHash } from 'node:crypto';
import words from '@polkadot/util-crypto/mnemonic/wordlists/en';

/** What was found and where. Never the secret itself. */
interface SecretFinding {
  readonly kind: string;
  /** Counted from 1. */
  readonly line: number;
}

export interface SecretScanner {
  /** Every finding, in the order of its line; empty when there is none. */
  find(text: string): SecretFinding[];
}

/** Each pattern is bounded, so that a hostile text cannot make it slow. */
const PATTERNS: ReadonlyArray<readonly [kind: string, pattern: RegExp]> = [
  ['private key', /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/g],
  ['encrypted key file', /\$NACL[^\s]{16}/g],
  [
    'seed or private key in hex',
    /(?:secret|seed|mnemonic|passphrase|priv(?:ate)?[_ -]?key)[^\n]{0,40}?(?<![0-9a-z])(?:0x)?(?:[0-9a-f]{64}){1,2}(?![0-9a-z])/gi,
  ],
  ['Hugging Face token', /\bhf_[A-Za-z0-9]{30,64}\b/g],
  ['GitHub token', /\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b/g],
  ['GitLab token', /\bglpat-[A-Za-z0-9_-]{20,64}/g],
  ['AWS access key', /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g],
  ['AWS secret key', /aws_?secret[^\n]{0,30}?[=:]\s{0,4}["']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])/gi],
  ['Google API key', /\bAIza[0-9A-Za-z_-]{35}/g],
  ['Slack token', /\bxox[abeoprs]-[A-Za-z0-9-]{10,255}/g],
  ['API key', /\bsk-[A-Za-z0-9_-]{20,255}/g],
  ['npm token', /\bnpm_[A-Za-z0-9]{36}\b/g],
  ['bearer token', /\bBearer\s{1,4}[A-Za-z0-9._~+/-]{20,255}/g],
  ['password in a URL', /\bhttps?:\/\/[^\s/:@]{1,200}:[^\s/@]{1,200}@/g],
];

const WORD_INDEXES = new Map<string, number>(words.map((word, index) => [word, index]));
const LONGEST_WORD = Math.max(...words.map((word) => word.length));
const MNEMONIC_LENGTHS = [12, 15, 18, 21, 24] as const;
/** Between two words of one mnemonic: white space, quotes, commas, numbers, a diff's `+`. */
const LONGEST_GAP = 16;

export function createSecretScanner(): SecretScanner {
  return {
    find(text) {
      const lineOf = lineCounter(text);
      const findings = PATTERNS.flatMap(([kind, pattern]) =>
        [...text.matchAll(pattern)].map((match) => ({ kind, line: lineOf(match.index) })),
      );
      for (const at of findMnemonics(text)) findings.push({ kind: 'mnemonic', line: lineOf(at) });
      return findings.sort((a, b) => a.line - b.line);
    },
  };
}

interface FoundWord {
  /** Place in the BIP-39 list: 11 bits. */
  readonly index: number;
  /** Offset in the text. */
  readonly at: number;
}

/** Where valid mnemonics start: runs of BIP-39 words whose checksum is right. */
function findMnemonics(text: string): number[] {
  const found: number[] = [];
  let run: FoundWord[] = [];
  let end = 0;
  const close = (): void => {
    found.push(...findInRun(run));
    run = [];
  };
  for (const match of text.matchAll(/[A-Za-z]+/g)) {
    const word = match[0].length > LONGEST_WORD ? '' : match[0].toLowerCase();
    const index = WORD_INDEXES.get(word);
    if (index === undefined) {
      close();
      continue;
    }
    if (match.index - end > LONGEST_GAP) close();
    run.push({ index, at: match.index });
    end = match.index + match[0].length;
  }
  close();
  return found;
}

function findInRun(run: readonly FoundWord[]): number[] {
  const found: number[] = [];
  let start = 0;
  while (start + MNEMONIC_LENGTHS[0] <= run.length) {
    // The longest: the first twelve words of twenty-four pass the short checksum once in sixteen times.
    const length = MNEMONIC_LENGTHS.findLast(
      (size) => start + size <= run.length && hasRightChecksum(run.slice(start, start + size)),
    );
    const first = run[start];
    if (length !== undefined && first !== undefined) found.push(first.at);
    start += length ?? 1;
  }
  return found;
}

/** BIP-39: the bits after the entropy are the first ones of its SHA-256. A library's check is too slow here. */
function hasRightChecksum(mnemonic: readonly FoundWord[]): boolean {
  const bytes = new Uint8Array(Math.ceil((mnemonic.length * 11) / 8));
  let [pending, pendingBits, filled] = [0, 0, 0];
  for (const { index } of mnemonic) {
    pending = (pending << 11) | index;
    pendingBits += 11;
    for (; pendingBits >= 8; pendingBits -= 8) {
      bytes[filled] = pending >> (pendingBits - 8);
      filled += 1;
    }
    pending &= (1 << pendingBits) - 1;
  }
  if (pendingBits > 0) bytes[filled] = pending << (8 - pendingBits);
  const checksumBits = mnemonic.length / 3;
  const entropyBytes = (mnemonic.length * 11 - checksumBits) / 8;
  const digest = createHash('sha256').update(bytes.subarray(0, entropyBytes)).digest();
  const unused = 8 - checksumBits;
  return (digest[0] ?? 0) >> unused === (bytes[entropyBytes] ?? 0) >> unused;
}

/** The line of an offset; the line starts are found once, since a patch may have many findings. */
function lineCounter(text: string): (offset: number) => number {
  const starts = [0];
  for (const match of text.matchAll(/\n/g)) starts.push(match.index + 1);
  return (offset) => {
    let [low, high] = [0, starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}
