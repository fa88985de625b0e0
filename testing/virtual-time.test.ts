import { expect, it } from 'vitest';
import { Cancelled, VirtualTime } from './virtual-time.js';

it('lets the earlier moment come first, and of two at one time the one that was asked for first', async () => {
  const time = new VirtualTime(1_000);
  const came: string[] = [];
  const sleep = async (name: string, ms: number): Promise<void> => {
    await time.sleep(ms);
    came.push(`${name} ${time.nowMs}`);
  };
  const work = Promise.all([sleep('a', 20), sleep('b', 10), sleep('c', 20), sleep('d', 10)]);
  expect(await time.pass(work)).toBe(true);
  expect(came).toEqual(['b 1010', 'd 1010', 'a 1020', 'c 1020']);
});

it('says so when nothing more can happen, and takes back what was cancelled', async () => {
  const time = new VirtualTime(0);
  expect(await time.pass(time.wait(() => () => undefined))).toBe(false);
  const ends: string[] = [];
  const work = time.scoped(async (cancel) => {
    const inner = time
      .scoped(() => time.sleep(100))
      .catch((error: unknown) => {
        ends.push(error instanceof Cancelled ? `cancelled at ${time.nowMs}` : 'other');
      });
    const shielded = time
      .shielded(() => time.sleep(50))
      .then(() => ends.push(`shielded ${time.nowMs}`));
    await time.sleep(10);
    cancel();
    await Promise.all([inner, shielded]);
    await expect(time.sleep(1)).rejects.toThrow(Cancelled);
  });
  expect(await time.pass(work)).toBe(true);
  expect(ends).toEqual(['cancelled at 10', 'shielded 50']);
  expect(time.nowMs).toBe(50);
});
