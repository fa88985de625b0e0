/** Looks for BIP-39 mnemonics in text: runs of words from its English list whose checksum is right. */
import { createHash } from 'node:crypto';
import words from '@polkadot/util-crypto/mnemonic/wordlists/en';

const WORD_INDEXES = new Map<string, number>(words.map((word, index) => [word, index]));
const WORD_LENGTHS = words.map((word) => word.length);
const SHORTEST_WORD = Math.min(...WORD_LENGTHS);
const LONGEST_WORD = Math.max(...WORD_LENGTHS);
const MNEMONIC_LENGTHS = [12, 15, 18, 21, 24] as const;
const MOST_WORDS = 24;
/** Between two words of one mnemonic: white space, quotes, commas, numbers, a diff's `+`. */
const LONGEST_GAP = 16;

/** No mnemonic reaches over more characters than this. */
export const LONGEST_MNEMONIC = MOST_WORDS * LONGEST_WORD + (MOST_WORDS - 1) * LONGEST_GAP;

interface FoundWord {
  /** Place in the BIP-39 list: 11 bits. */
  readonly index: number;
  /** Offsets in the text; the end is exclusive. */
  readonly at: number;
  readonly end: number;
}

/** Part of a text; the end is exclusive. */
export interface TextRange {
  readonly start: number;
  readonly end: number;
}

/** Where valid mnemonics start; of those that overlap the first and longest. */
export function findMnemonics(text: string): number[] {
  return findRuns(text).flatMap(findInRun);
}

/**
 * Every range that could be a mnemonic, those that overlap included: whichever of them is the real one, it is among
 * them, and a text that is read piece by piece gives the same ones.
 */
export function findMnemonicRanges(text: string): TextRange[] {
  return findRuns(text).flatMap((run) =>
    run.flatMap((first, start) => {
      const length = MNEMONIC_LENGTHS.findLast(
        (size) => start + size <= run.length && hasRightChecksum(run.slice(start, start + size)),
      );
      const last = length === undefined ? undefined : run[start + length - 1];
      return last === undefined ? [] : [{ start: first.at, end: last.end }];
    }),
  );
}

/**
 * The words at the end of a text that more text could make a mnemonic of: how many there are, at most 23, and where
 * the first starts; null when there are none. A last word that is not whole yet counts.
 */
export function trailingWords(
  text: string,
): { readonly count: number; readonly at: number } | null {
  const tail = text.slice(-LONGEST_MNEMONIC);
  const offset = text.length - tail.length;
  let count = 0;
  let at = text.length;
  for (const match of [...tail.matchAll(/[A-Za-z]+/g)].toReversed()) {
    const word = match[0].toLowerCase();
    const end = offset + match.index + match[0].length;
    if (at - end > LONGEST_GAP || word.length > LONGEST_WORD) break;
    const isCut = end === text.length && words.some((known) => known.startsWith(word));
    if (!isCut && !WORD_INDEXES.has(word)) break;
    at = offset + match.index;
    count += 1;
    if (count === MOST_WORDS - 1) break;
  }
  return count === 0 ? null : { count, at };
}

/**
 * Runs of words of the list, each of twelve or more. Every text of a run and every line of its logs goes through here, and
 * few have twelve words in a row that are as long as those of the list: only such are looked up.
 */
function findRuns(text: string): FoundWord[][] {
  const runs: FoundWord[][] = [];
  let run: FoundWord[] = [];
  /** Start and end, in turns, of words that nobody has looked up; there are none while a run has begun. */
  let pending: number[] = [];
  const close = (): void => {
    if (run.length >= MNEMONIC_LENGTHS[0]) runs.push(run);
    if (run.length > 0) run = [];
  };
  const lookUp = (start: number, end: number): void => {
    const index = WORD_INDEXES.get(text.slice(start, end).toLowerCase());
    if (index === undefined) close();
    else run.push({ index, at: start, end });
  };
  let lastEnd = 0;
  let at = 0;
  while (at < text.length) {
    while (at < text.length && !isLetter(text.charCodeAt(at))) at += 1;
    const start = at;
    while (at < text.length && isLetter(text.charCodeAt(at))) at += 1;
    const fits = at - start >= SHORTEST_WORD && at - start <= LONGEST_WORD;
    if (!fits || start - lastEnd > LONGEST_GAP) {
      close();
      if (pending.length > 0) pending = [];
    }
    if (!fits) continue;
    lastEnd = at;
    if (run.length > 0) {
      lookUp(start, at);
      continue;
    }
    pending.push(start, at);
    if (pending.length < 2 * MNEMONIC_LENGTHS[0]) continue;
    for (let word = 0; word < pending.length; word += 2)
      lookUp(pending[word] ?? 0, pending[word + 1] ?? 0);
    pending = [];
  }
  close();
  return runs;
}

function isLetter(code: number): boolean {
  // In ASCII a letter's bit 0x20 is its case.
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x7a && code < 0x80;
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
