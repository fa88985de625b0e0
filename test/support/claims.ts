/**
 * Claims of a document that are tried: a quotation, a pipeline, and what the checker says of it or what a test of it
 * (`adit test`) shows. They stand in YAML; in its texts these stand for what would be written again and again:
 *
 * - `$run`: what a step needs that runs a program; `$make({ n: int })`: one that gives values
 * - `$ok`: that program succeeds, which it does where a test says nothing; `$gives({ n: 1 })`: with these values
 * - `kilobytes-20`: a text of that size
 * - `$slow(1h)`: it succeeds after that time; `$fail`: it fails with a code that is not retried; `$late(1h)`: so, then
 */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { z } from 'zod';
import { parse } from 'yaml';
import { STEP_TYPES } from '../../activities/registry.js';
import { compilePipeline } from '../../compiler/compile.js';
import type { PipelineFiles } from '../../compiler/pipeline-files.js';
import { compileTestFile } from '../../testing/compile-test-file.js';
import { printFailedTest } from '../../testing/report.js';
import { runTest } from '../../testing/run-test.js';

const claimSchema = z.strictObject({
  /** Words of the document, without the difference of blanks; many where one try shows many. */
  says: z.union([z.string(), z.array(z.string())]),
  /** The file, without the name of the pipeline where it begins with `steps` alone. */
  file: z.string(),
  /** Files that it calls, by name. */
  called: z.record(z.string(), z.string()).default({}),
  /** All that the checker says; nothing where it is left out. */
  codes: z.array(z.string()).default([]),
  /** A test of a test file, without its name. */
  test: z.string().optional(),
});

export type Claim = z.infer<typeof claimSchema>;

const LOG = `{ uri: 'store:a', sha256: '${'a'.repeat(64)}', sizeBytes: 1 }`;

export function readClaims(file: string): readonly Claim[] {
  return z.array(claimSchema).parse(parse(readFileSync(file, 'utf8')));
}

/** One text, whatever its lines and the columns of its tables. */
export function withoutBlanks(text: string): string {
  return text.replaceAll(/\s+/g, ' ');
}

/** Fails where the claim is not so. */
export async function tryClaim({ file, called, codes, test }: Claim): Promise<void> {
  const content = fileOf(file);
  const files = filesOf(called);
  const { diagnostics } = compilePipeline(content, 'it.yaml', STEP_TYPES, files);
  expect(diagnostics.map(({ code }) => code)).toEqual(codes);
  if (test === undefined) return;
  const stubs = idsOfPrograms([file, ...Object.values(called)].join('\n'));
  const tests = `steps: { ${stubs.map((id) => `${id}: $ok`).join(', ')} }
tests:
  - name: it
${test.trim().replaceAll(/^/gm, '    ')}`;
  const read = () => ({ file: 'it.yaml', content: new TextEncoder().encode(content) });
  const compiled = compileTestFile(written(tests), 'it.test.yaml', STEP_TYPES, read, files);
  expect(compiled.mistakes.flatMap(({ diagnostics: of }) => of)).toEqual([]);
  const [only] = compiled.file?.tests ?? [];
  if (compiled.file === null || only === undefined) throw new Error('There is no test.');
  const result = await runTest(compiled.file, only);
  expect(result.failures.length === 0 ? '' : printFailedTest(result, compiled.source)).toBe('');
}

function fileOf(text: string): string {
  return written(/^pipeline:/m.test(text) ? text : `pipeline: it\n${text}`);
}

/** Programs whose values nobody needs to give. */
function idsOfPrograms(text: string): string[] {
  return [...new Set([...text.matchAll(/id: (\w+), \$run/g)].map(([, id = '']) => id))];
}

function written(text: string): string {
  const gives = (values: string): string =>
    `{ outputs: { exit_code: 0, outputs: ${values}, log: ${LOG} } }`;
  return text
    .replaceAll('kilobytes-20', 'x'.repeat(20 * 1024))
    .replaceAll('$run', 'uses: process.run, with: { command: x }')
    .replaceAll(/\$make\((.*?)\)\$/g, 'uses: process.run, with: { command: x, outputs: $1 }')
    .replaceAll('$ok', gives('{}'))
    .replaceAll(/\$gives\((.*?)\)\$/g, (_all, values: string) => gives(values))
    .replaceAll(
      /\$slow\((\w+)\)/g,
      (_all, time: string) => `{ delay: ${time}, ${gives('{}').slice(1)}`,
    )
    .replaceAll('$fail', '{ error: PROGRAM_KILLED }')
    .replaceAll(/\$late\((\w+)\)/g, '{ delay: $1, error: PROGRAM_KILLED }');
}

function filesOf(called: Claim['called']): PipelineFiles {
  return {
    identify: (file) => file,
    read(name) {
      const file = name.replace(/^\.\//, '');
      const text = called[file];
      if (text === undefined) return { problem: 'there is no such file', near: [] };
      const content = new TextEncoder().encode(written(text));
      return { identity: file, file, content, sha256: 'a'.repeat(64) };
    },
  };
}
