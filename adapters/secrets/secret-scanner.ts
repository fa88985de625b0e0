/** Looks for keys and tokens in text that is about to leave this machine. */
import { SECRET_PATTERNS } from '../../core/secret-patterns.js';
import { findMnemonics } from './mnemonics.js';

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

export function createSecretScanner(): SecretScanner {
  return {
    find(text) {
      const lineOf = lineCounter(text);
      const findings = SECRET_PATTERNS.flatMap(([kind, pattern]) =>
        [...text.matchAll(pattern)].map((match) => ({ kind, line: lineOf(match.index) })),
      );
      for (const at of findMnemonics(text)) findings.push({ kind: 'mnemonic', line: lineOf(at) });
      return findings.sort((a, b) => a.line - b.line);
    },
  };
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
