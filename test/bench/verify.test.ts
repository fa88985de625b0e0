/** `adit verify` of a bundle with an artifact of 1 GB, beside `sha256sum` of the same file: pairs as in pairs.ts. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeChain } from '../../adapters/bundle/chain.js';
import { TAR_END_BYTES, tarHeader, tarPadding } from '../../adapters/bundle/tar-header.js';
import { PACKAGE_ROOT } from '../support/local-network.js';
import { comparePairs, PAIRS } from './pairs.js';
import { addRow, median, printReport } from './report.js';

const GB = 1_000_000_000;
/** At least 0.8 times the speed. */
const BAR = 1 / 0.8;

let folder: string;
let bundle: string;
let root: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-bench-verify-'));
  bundle = path.join(folder, 'round.tar');
  root = await writeBundle(bundle);
});
afterAll(async () => {
  printReport();
  await rm(folder, { recursive: true, force: true });
});

/** A bundle with the records that each has and one artifact; returns its root. */
async function writeBundle(file: string): Promise<string> {
  const piece = randomBytes(10_000_000);
  const hash = createHash('sha256');
  for (let done = 0; done < GB; done += piece.length) hash.update(piece);
  const artifact = hash.digest('hex');
  const about = { runId: 'r', roundId: 'r', pipeline: 'p', status: 'succeeded' };
  const chain = writeChain(about, [
    { record: 'plan', name: 'plan', value: { pipeline: 'p', inputs: {} } },
    { record: 'run', name: 'run', value: { ...about, steps: [] } },
    { file: artifact, sizeBytes: GB, role: 'artifact' },
  ]);
  const handle = await open(file, 'w');
  try {
    const text = Buffer.from(chain.text);
    await handle.writeFile(tarHeader('bundle.chain', text.length));
    await handle.writeFile(text);
    await handle.writeFile(Buffer.alloc(tarPadding(text.length)));
    await handle.writeFile(tarHeader(`files/${artifact}`, GB));
    for (let done = 0; done < GB; done += piece.length) await handle.writeFile(piece);
    await handle.writeFile(Buffer.alloc(tarPadding(GB) + TAR_END_BYTES));
  } finally {
    await handle.close();
  }
  return chain.root;
}

async function timeMs(command: string, args: readonly string[]): Promise<number> {
  const start = performance.now();
  // Status 0 or it throws: so it is `authentic`.
  await promisify(execFile)(command, [...args]);
  return performance.now() - start;
}

test('verify of a bundle with an artifact of 1 GB', { timeout: 600_000 }, async () => {
  const adit = path.join(PACKAGE_ROOT, 'cli/adit.js');
  const { ratio, spread, ratios, ...times } = await comparePairs(
    PAIRS,
    () => timeMs(process.execPath, [adit, 'verify', bundle, '--root', root]),
    () => timeMs('sha256sum', [bundle]),
  );
  const passed = ratio <= BAR + spread;
  const gbPerSecond = (values: readonly number[]): string =>
    `${(GB / 1_000_000 / median(values)).toFixed(2)} GB/s`;
  addRow({
    what: `verify of a bundle with an artifact of 1 GB, start to exit, beside sha256sum, ${PAIRS} pairs`,
    measured: `${ratio.toFixed(2)}x the time (verify ${gbPerSecond(times.adit)}, sha256sum ${gbPerSecond(times.byHand)}; spread ${spread.toFixed(2)})`,
    bar: `${BAR}x + spread`,
    passed,
    values: { ratio, spread, ratios, ...times },
  });
  expect(passed, `${ratio.toFixed(2)}x`).toBe(true);
});
