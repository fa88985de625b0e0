/** Two programs in turns, so that what the machine does besides meets both alike. */
import { median } from './report.js';

/** At least 9: what the bars are stated for. */
export const PAIRS = Math.max(9, Number(process.env['ADIT_BENCH_PAIRS'] ?? '9'));

export interface Comparison {
  /** Adit's time as a multiple of the time by hand: the median over the pairs. */
  readonly ratio: number;
  /** How far two runs by hand that follow each other lie apart: a ratio may exceed its bar by so much. */
  readonly spread: number;
  readonly ratios: readonly number[];
  readonly adit: readonly number[];
  readonly byHand: readonly number[];
}

/**
 * Both functions return what they took; the order turns with each pair. `warmUps`: how often both run first, uncounted,
 * so that neither is measured while its code is still being compiled.
 */
export async function comparePairs(
  count: number,
  runAdit: () => Promise<number>,
  runByHand: () => Promise<number>,
  { warmUps = 1 } = {},
): Promise<Comparison> {
  for (let done = 0; done < warmUps; done += 1) {
    await runAdit();
    await runByHand();
  }
  const adit: number[] = [];
  const byHand: number[] = [];
  for (let pair = 0; pair < count; pair += 1) {
    const turns = [
      async () => adit.push(await runAdit()),
      async () => byHand.push(await runByHand()),
    ];
    for (const turn of pair % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  const ratios = adit.map((took, index) => took / (byHand[index] ?? 0));
  const apart = byHand.slice(1).map((took, index) => {
    const before = byHand[index] ?? 0;
    return Math.max(took, before) / Math.min(took, before) - 1;
  });
  return { ratio: median(ratios), spread: median(apart), ratios, adit, byHand };
}
