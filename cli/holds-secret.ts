import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { UNMISTAKABLE } from '../adapters/bundle/masked-json.js';
import { findMnemonicRanges } from '../adapters/secrets/mnemonics.js';

/** What is larger is searched for the known secrets alone, piece by piece. */
const WHOLE_BYTES = 64 * 1024 * 1024;
/** Shorter ones than this are no secrets: they would be found everywhere. */
const SHORTEST_SECRET = 4;

/** True when a file holds one of these secrets, a mnemonic, or what has the form of a token. */
export async function holdsSecret(
  file: string,
  sizeBytes: number,
  secrets: readonly string[],
): Promise<boolean> {
  const known = spellings(secrets).map((secret) => Buffer.from(secret));
  if (sizeBytes > WHOLE_BYTES) return holdsKnown(file, known);
  const bytes = await readFile(file);
  if (known.some((secret) => bytes.includes(secret))) return true;
  // One byte is one character there, so bytes that are no text do no harm.
  const text = bytes.toString('latin1');
  return (
    UNMISTAKABLE.some((pattern) => text.search(pattern) >= 0) || findMnemonicRanges(text).length > 0
  );
}

/** Each secret as it is and as JSON writes it: evidence is mostly JSON. */
export function spellings(secrets: readonly string[]): string[] {
  const long = secrets.filter((secret) => Buffer.byteLength(secret) >= SHORTEST_SECRET);
  return [...new Set(long.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]))];
}

async function holdsKnown(file: string, known: readonly Buffer[]): Promise<boolean> {
  const overlap = Math.max(0, ...known.map(({ length }) => length - 1));
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of createReadStream(file, { highWaterMark: 4 * 1024 * 1024 })) {
    const bytes: Buffer = Buffer.concat([rest, piece as Buffer]);
    if (known.some((secret) => bytes.includes(secret))) return true;
    rest = bytes.subarray(Math.max(0, bytes.length - overlap));
  }
  return false;
}
