/**
 * What checking a large file takes, beside `yaml.parseDocument` on the same text: pairs in turning order, the spread as
 * in steps.test.ts. And `adit check` and `adit plan` of the shipped pipeline, from the start of the program to its end.
 */
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { STEP_TYPES } from '../../activities/registry.js';
import { compilePipeline } from '../../compiler/compile.js';
import { SHAPES } from './check-shapes.js';
import { environment } from '../support/cli.js';
import { addRow, median, printReport } from './report.js';

const PAIRS = Math.max(9, Number(process.env['ADIT_BENCH_PAIRS'] ?? '9'));
const BAR = 3;
const root = path.join(import.meta.dirname, '../..');

afterAll(printReport);

function timeMs(what: () => unknown): number {
  const start = performance.now();
  what();
  return performance.now() - start;
}

const cases = Object.entries(SHAPES).flatMap(([name, shape]) =>
  [1_000, 4_000].map((steps) => ({ name, steps, text: shape(steps) })),
);

test.each(cases)('$steps steps: $name', ({ name, steps, text }) => {
  const check = (): unknown =>
    compilePipeline(text, 'big.yaml', STEP_TYPES).diagnostics.filter(
      ({ severity }) => severity === 'error',
    );
  expect(check()).toEqual([]);
  parseDocument(text);
  const checkMs: number[] = [];
  const parseMs: number[] = [];
  for (let pair = 0; pair < PAIRS; pair += 1) {
    if (pair % 2 === 0) parseMs.push(timeMs(() => parseDocument(text)));
    checkMs.push(timeMs(check));
    if (pair % 2 === 1) parseMs.push(timeMs(() => parseDocument(text)));
  }
  const ratios = checkMs.map((ms, pair) => ms / (parseMs[pair] ?? Number.NaN));
  const spread = median(
    parseMs.slice(1).map((ms, pair) => {
      const before = parseMs[pair] ?? Number.NaN;
      return Math.max(ms, before) / Math.min(ms, before) - 1;
    }),
  );
  const ratio = median(ratios);
  const passed = ratio <= BAR + spread;
  addRow({
    what: `check of ${steps} steps, ${name}, ${PAIRS} pairs`,
    measured: `${ratio.toFixed(2)}x (check ${median(checkMs).toFixed(0)} ms, parseDocument ${median(parseMs).toFixed(0)} ms; spread ${spread.toFixed(2)})`,
    bar: `${BAR}x + spread`,
    passed,
    values: { ratio, spread, ratios, checkMs, parseMs },
  });
  expect(passed, `${ratio.toFixed(2)}x`).toBe(true);
});

const programs = [
  { name: 'check', more: [], barMs: 400 },
  // With an input for each that has no default, and no server.
  {
    name: 'plan',
    more: [
      'task=some-task',
      'train=true',
      'summary=Better.',
      'recipes=[{ name: one, edits: [{ path: a.py, find: a, replace: b }] }]',
    ].flatMap((input) => ['--input', input]),
    barMs: 600,
  },
];

test.each(programs)('adit $name of the shipped pipeline, start to exit', async (program) => {
  const { name, more, barMs } = program;
  const times: number[] = [];
  const argv = ['cli/adit.js', name, 'pipelines/frontier-round.yaml', ...more];
  const env = environment({ stateDir: path.join(tmpdir(), 'adit-bench-no-state') });
  for (let run = 0; run < PAIRS; run += 1) {
    const start = performance.now();
    await promisify(execFile)(process.execPath, argv, { cwd: root, env });
    times.push(performance.now() - start);
  }
  const ms = median(times);
  addRow({
    what: `adit ${name} of the shipped pipeline, start to exit, ${PAIRS} runs`,
    measured: `${ms.toFixed(0)} ms`,
    bar: `${barMs} ms on an idle machine`,
    passed: ms <= barMs,
    values: { times },
  });
  expect(ms).toBeLessThanOrEqual(barMs);
});
