/** What docs/testing.md shows is so: its example passes, and its failure is what such a failure looks like. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { compileTestFile } from '../../testing/compile-test-file.js';
import { printFailedTest } from '../../testing/report.js';
import { runTest, type TestResult } from '../../testing/run-test.js';

const text = readFileSync(join(import.meta.dirname, '../../docs/testing.md'), 'utf8');
const blocks = [...text.matchAll(/```\w*\n(.*?)```/gs)].map(([, block]) => block ?? '');
const blockOf = (head: string): string => blocks.find((block) => block.startsWith(head)) ?? '';

async function run(tests: string): Promise<{ results: TestResult[]; printed: string }> {
  const content = new TextEncoder().encode(blockOf('# look.yaml\n'));
  const compiled = compileTestFile(tests, 'look.test.yaml', STEP_TYPES, (file) => ({
    file,
    content,
  }));
  expect(compiled.mistakes.flatMap(({ diagnostics }) => diagnostics)).toEqual([]);
  const results: TestResult[] = [];
  for (const test of compiled.file!.tests) results.push(await runTest(compiled.file!, test));
  const failed = results.filter(({ failures }) => failures.length > 0);
  const printed = failed.map(
    (result) => `FAILED ${result.test.name}\n${printFailedTest(result, compiled.source)}\n`,
  );
  return { results, printed: printed.join('\n') };
}

it('its example passes', async () => {
  const { results, printed } = await run(blockOf('# look.test.yaml\n'));
  expect(printed).toBe('');
  expect(results.length).toBe(3);
});

it('its failure is what one of the example would be', async () => {
  const { printed } = await run(blockOf('# look.test.yaml\n').replace('least: 6', 'least: 2'));
  expect(printed).toBe(blockOf('FAILED'));
});
