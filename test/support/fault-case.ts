/**
 * Fault tests run in rounds, each with a seed of its own: ADIT_FAULT_ROUNDS (1), ADIT_FAULT_SEED (`adit`).
 * ADIT_FAULT_TABLE names a file for the table of all cases with their rounds and failures.
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'vitest';
import { createSeeded, type Seeded } from './seeded.js';

const ROUNDS = Number(process.env['ADIT_FAULT_ROUNDS'] ?? '1');
const SEED = process.env['ADIT_FAULT_SEED'] ?? 'adit';
const TABLE = process.env['ADIT_FAULT_TABLE'];

export interface FaultRound {
  readonly seeded: Seeded;
  /** From 1. */
  readonly round: number;
}

interface RoundResult {
  readonly name: string;
  readonly round: number;
  readonly failure: string | null;
}

/** Registers a test once per round; run beside others only inside `describe.concurrent`. */
export function faultCase(
  name: string,
  body: (round: FaultRound) => Promise<void>,
  options: { readonly timeoutMs?: number; readonly skip?: boolean } = {},
): void {
  for (let round = 1; round <= ROUNDS; round += 1) {
    const title = ROUNDS === 1 ? name : `${name} (round ${round})`;
    test.skipIf(options.skip === true)(
      title,
      async () => {
        const seed = `${SEED}/${name}/${round}`;
        try {
          await body({ seeded: createSeeded(seed), round });
        } catch (error) {
          record({ name, round, failure: (error as Error).message });
          throw new Error(
            `With ADIT_FAULT_SEED=${SEED}, round ${round}: ${(error as Error).message}`,
            {
              cause: error,
            },
          );
        }
        record({ name, round, failure: null });
      },
      options.timeoutMs ?? 240_000,
    );
  }
}

function record(result: RoundResult): void {
  if (TABLE === undefined) return;
  const log = `${TABLE}.jsonl`;
  appendFileSync(log, `${JSON.stringify(result)}\n`);
  const results = readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as RoundResult);
  const rows = [...new Set(results.map((each) => each.name))].map((each) => {
    const rounds = results.filter((one) => one.name === each);
    const failures = rounds.filter(({ failure }) => failure !== null).length;
    return `| ${each} | ${rounds.length} | ${failures} |`;
  });
  writeFileSync(
    TABLE,
    ['| case | rounds | failures |', '| --- | --- | --- |', ...rows, ''].join('\n'),
  );
}
