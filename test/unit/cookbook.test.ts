/** Every file of docs/cookbook.md checks without a warning, is formatted, and its tests pass. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCommand } from '../support/command.js';

let folder: string;
let files: readonly string[];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-cookbook-'));
  const text = await readFile(path.join(import.meta.dirname, '../../docs/cookbook.md'), 'utf8');
  const found: string[] = [];
  for (const [, name = '', content = ''] of text.matchAll(/^```yaml\n# (\S+)\n([\s\S]*?)^```$/gm)) {
    found.push(path.join(folder, name));
    await writeFile(path.join(folder, name), content);
  }
  files = found;
});

afterAll(() => rm(folder, { recursive: true, force: true }));

it('the cookbook checks, and its tests pass', async () => {
  const tests = files.filter((file) => file.endsWith('.test.yaml'));
  expect([files.length, tests.length]).toEqual([9, 4]);
  const checked = await runCommand('check', '--deny-warnings', ...files);
  expect(checked.exitCode, checked.stdout).toBe(0);
  const formatted = await runCommand('fmt', '--check', ...files);
  expect(formatted.exitCode, formatted.stdout).toBe(0);
  const tested = await runCommand('test', ...tests);
  expect(tested.exitCode, tested.stdout).toBe(0);
});
