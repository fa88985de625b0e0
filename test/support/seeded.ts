import { createHash } from 'node:crypto';

/** Numbers that look random and are the same for the same seed. */
export interface Seeded {
  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number;
  pick<T>(from: readonly T[]): T;
  /** Eight hexadecimal digits. */
  word(): string;
}

export function createSeeded(seed: string): Seeded {
  let count = 0;
  const next = (): number => {
    count += 1;
    return createHash('sha256').update(`${seed}/${count}`).digest().readUInt32BE(0);
  };
  const between = (least: number, most: number): number => least + (next() % (most - least + 1));
  return {
    between,
    pick: (from) => {
      const picked = from[between(0, from.length - 1)];
      if (picked === undefined) throw new Error('There is nothing to pick from.');
      return picked;
    },
    word: () => next().toString(16).padStart(8, '0'),
  };
}
