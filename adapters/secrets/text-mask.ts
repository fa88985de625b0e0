import { readFileSync } from 'node:fs';
import { findMnemonicRanges } from './mnemonics.js';

const MASK = '[masked]';
/** Shorter ones than this are no secrets, and would leave nothing of a text. */
const SHORTEST_SECRET = 4;

/**
 * Masks, in whole texts, what these files hold and every mnemonic. The files are read each time: they may be changed
 * while a worker runs. One that is absent or cannot be read masks nothing.
 */
export function createTextMask(files: readonly (string | null)[]): (text: string) => string {
  return (text) => {
    let masked = '';
    let at = 0;
    for (const { start, end } of findMnemonicRanges(text).toSorted((a, b) => a.start - b.start)) {
      if (start >= at) masked += text.slice(at, start) + MASK;
      at = Math.max(at, end);
    }
    masked += text.slice(at);
    for (const file of files) {
      const secret = file === null ? '' : readSecret(file);
      if (Buffer.byteLength(secret) >= SHORTEST_SECRET) masked = masked.replaceAll(secret, MASK);
    }
    return masked;
  };
}

function readSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}
