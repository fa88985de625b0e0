import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STEP_TYPES } from '../activities/registry.js';
import { namedFileReader } from '../cli/read-named-file.js';
import { printDiagnostic } from '../compiler/diagnostic.js';
import { compileTestFile, type CompiledTests, type ReadNamedFile } from './compile-test-file.js';
import { runTest } from './run-test.js';

const root = join(import.meta.dirname, '..');

function print(content: string | Uint8Array, file: string, read: ReadNamedFile): string {
  return printAll(compileTestFile(content, file, STEP_TYPES, read).mistakes);
}

function printAll(mistakes: CompiledTests['mistakes']): string {
  return mistakes
    .flatMap(({ source, diagnostics }) =>
      diagnostics.map((diagnostic) => `${printDiagnostic(diagnostic, source)}\n`),
    )
    .join('\n');
}

const pipeline = (text: string): ReadNamedFile => {
  const content = new TextEncoder().encode(text);
  return () => ({ file: 'a.yaml', content });
};

const GOOD = pipeline('pipeline: a\nsteps: [{ id: one, uses: round.preflight }]\n');

describe('a test file', () => {
  it('has all of its mistakes told at once, each at its place', () => {
    const folder = join(root, 'test/fixtures/testing');
    const file = join(folder, 'mistakes.test.yaml');
    const printed = print(readFileSync(file), 'mistakes.test.yaml', namedFileReader(file));
    const expectation = join(folder, 'mistakes.txt');
    if (process.env['UPDATE_CORPUS'] === '1') writeFileSync(expectation, printed);
    expect(printed).toBe(readFileSync(expectation, 'utf8'));
  });

  it('tests the pipeline of its own name, unless it names another', () => {
    const asked: string[] = [];
    const read: ReadNamedFile = (name) => {
      asked.push(name);
      return { file: name, problem: 'there is no such file' };
    };
    expect(print('tests: [{ name: a, expect: [true] }]\n', 'x/round.test.yaml', read)).toContain(
      'x/round.test.yaml:1:1: error: the pipeline file round.yaml cannot be read: there is no such file [VALUE_INVALID]',
    );
    print('pipeline: ../b.yaml\ntests: [{ name: a, expect: [true] }]\n', 'round.test.yaml', read);
    expect(asked).toEqual(['round.yaml', '../b.yaml']);
  });

  it('shows the mistakes of the pipeline at their places in the pipeline', () => {
    const read = pipeline('pipeline: a\nsteps: [{ id: one, uses: round.preflite }]\n');
    const printed = print('tests: [{ name: a, expect: [true] }]\n', 'a.test.yaml', read);
    expect(printed).toContain('a.yaml:2:26: error: there is no step type `round.preflite`');
  });

  it('tells of inputs that are wrong for all tests once', () => {
    const read = pipeline(
      'pipeline: a\ninputs: { n: { type: int }, r: { type: Recipe } }\nsteps: [{ id: one, uses: round.preflight }]\n',
    );
    const tests = 'tests: [{ name: a, expect: [true] }, { name: b, expect: [true] }]\n';
    const missing = print(tests, 'a.test.yaml', read);
    expect(missing.match(/INPUT_MISSING/g)).toHaveLength(2);
    const invalid = print(
      `inputs: { n: 1, r: { name: '', edits: [] } }\n${tests}`,
      'a.test.yaml',
      read,
    );
    expect(invalid).toMatch(/a\.test\.yaml:1:22: error: the input `r` is not a Recipe at `name`/);
    expect(invalid.match(/error:/g)).toHaveLength(1);
  });

  it('is refused when two tests have one name, or it has none', () => {
    const twice = 'tests: [{ name: a, expect: [true] }, { name: a, expect: [true] }]\n';
    expect(print(twice, 'a.test.yaml', GOOD)).toContain(
      'a test of this name is already there, on line 1',
    );
    expect(print('tests: []\n', 'a.test.yaml', GOOD)).toContain(
      '`tests` is a list of at least one',
    );
    expect(print('', 'a.test.yaml', GOOD)).toContain('a test file needs at least `tests:`');
    expect(print('[]', 'a.test.yaml', GOOD)).toContain('a test file is a map');
    expect(print('tests: [{ name: a, expect: [true]', 'a.test.yaml', GOOD)).toContain(
      'YAML_SYNTAX',
    );
  });

  it.each([
    ['brackets', `tests: ${'['.repeat(100_000)}`],
    ['a text of 900 KB', `tests: [{ name: ${'y'.repeat(900_000)}, expect: [false] }]`],
    ['NUL', 'tests: \u0000'],
    ['an expression of 100 KB', `tests: [{ name: a, expect: ['${'!'.repeat(100_000)}true'] }]`],
    ['2 MB', `# ${'x'.repeat(2 * 1024 * 1024)}\n`],
    ['an alias bomb', bomb()],
  ])('is refused or run in no time and few words when it holds %s', async (_name, content) => {
    const { file, mistakes } = compileTestFile(content, 'a.test.yaml', STEP_TYPES, GOOD);
    expect(file === null).toBe(mistakes.length > 0);
    expect(printAll(mistakes).length).toBeLessThan(20_000);
    for (const test of file?.tests ?? []) await runTest(file!, test);
  });

  it('never breaks the compiler, whatever pieces of it are put in, taken out or moved', async () => {
    const text = readFileSync(join(root, 'test/fixtures/testing/mistakes.test.yaml'), 'utf8');
    const good = readFileSync(join(root, 'pipelines/frontier-round.test.yaml'), 'utf8');
    const round = pipeline(readFileSync(join(root, 'pipelines/frontier-round.yaml'), 'utf8'));
    const pieces = [
      '${{',
      '}}',
      '{',
      ']',
      '"',
      "'",
      ': ',
      '- ',
      '\n',
      '#*',
      '#9',
      ' == ',
      '__proto__',
      'ran.',
      '*file',
      '\u001b',
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(text, good),
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 20 }), fc.constantFrom('', ...pieces)), {
          minLength: 1,
          maxLength: 4,
        }),
        async (base, edits) => {
          let changed = base;
          for (const [at, length, piece] of edits) {
            const from = at % changed.length;
            changed = changed.slice(0, from) + piece + changed.slice(from + length);
          }
          const { file, mistakes } = compileTestFile(changed, 'fuzz.test.yaml', STEP_TYPES, round);
          expect(file === null).toBe(mistakes.length > 0);
          for (const test of file?.tests.slice(0, 2) ?? []) {
            const { failures } = await runTest(file!, test);
            expect(failures.filter(({ kind }) => kind === 'defect')).toEqual([]);
          }
        },
      ),
      { numRuns: 20 },
    );
  });
});

function bomb(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
  for (let level = 1; level < 12; level += 1) {
    const many = Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ');
    lines.push(`a${level}: &a${level} [${many}]`);
  }
  return `${lines.join('\n')}\n`;
}
