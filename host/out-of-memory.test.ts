import { expect, it } from 'vitest';
import { readOomKills } from './out-of-memory.js';

it('reads how many processes the kernel killed for want of memory', async () => {
  const kills = readOomKills();
  expect(Number.isSafeInteger(kills)).toBe(true);
  expect(kills).toBeGreaterThanOrEqual(0);
});
