import { sha256OfAscii } from '../core/sha256.js';

/** The same numbers for the same seed, from 0 to below `limit`: a sample that can be drawn again on any machine. */
export function createDraw(seed: string): (limit: number) => number {
  // The seed is whatever a person typed.
  const ascii = encodeURIComponent(seed);
  let count = 0;
  return (limit) => {
    count += 1;
    return Number.parseInt(sha256OfAscii(`${ascii}/${count}`).slice(0, 8), 16) % limit;
  };
}
