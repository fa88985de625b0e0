/** The tests of the pipelines that are shipped: they pass, and together they come by every step. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../../activities/registry.js';
import { compileTestFile } from '../../testing/compile-test-file.js';
import { printFailedTest } from '../../testing/report.js';
import { runTest } from '../../testing/run-test.js';
import { filesOnDisk } from '../../cli/pipeline-files.js';
import { namedFileReader } from '../../cli/read-named-file.js';
import { printDiagnostic } from '../../compiler/diagnostic.js';

const folder = join(import.meta.dirname, '../../pipelines');
const pipelines = readdirSync(folder).filter((name) => /(?<!\.test|\.rehearse)\.yaml$/.test(name));

describe.each(pipelines)('pipelines/%s', (name) => {
  const file = join(folder, name.replace(/\.yaml$/, '.test.yaml'));
  const compiled = compileTestFile(
    readFileSync(file),
    file,
    STEP_TYPES,
    namedFileReader(file),
    filesOnDisk,
  );
  const reached = new Map<string, Set<string>>();

  it('has a test file without mistakes', () => {
    const told = compiled.mistakes.flatMap(({ source, diagnostics }) =>
      diagnostics.map((diagnostic) => printDiagnostic(diagnostic, source)),
    );
    expect(told).toEqual([]);
  });

  it.each(compiled.file?.tests.map((test) => [test.name, test] as const) ?? [])(
    '%s',
    async (_name, test) => {
      const result = await runTest(compiled.file!, test);
      expect(result.failures.length === 0 ? '' : printFailedTest(result, compiled.source)).toBe('');
      for (const [path, { status }] of result.steps) {
        const pattern = compiled.file!.names.at(path)!.path;
        reached.set(pattern, (reached.get(pattern) ?? new Set()).add(status));
      }
    },
  );

  it('is come by at every step, and each that can succeed or end the run does', () => {
    for (const { path, step } of compiled.file!.names.all) {
      const statuses = [...(reached.get(path) ?? [])];
      expect(statuses, path).toContain(step?.kind === 'stop' ? 'stopped' : 'succeeded');
    }
  });
});
