/** Files that call files: what is read, told and put into the plan; what each mistake prints is in test/corpus/called. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { bindPipeline } from './bind.js';
import { compilePipeline, sourceOf, type Compiled } from './compile.js';
import type { PipelineFiles } from './pipeline-files.js';
import type { StepSignature } from './step-signature.js';

const make: StepSignature = {
  name: 'test.make',
  summary: 'Makes things.',
  input: z.object({ word: z.string().optional() }),
  output: z.object({ word: z.string(), anything: z.json() }),
  defaults: { timeout: '1m' },
  errors: [],
  example: '- uses: test.make',
};

type Files = { readonly [name: string]: string };

/** Files of one folder. `reads` gets the name of each that is read. */
function filesOf(files: Files, reads: string[] = []): PipelineFiles {
  return {
    identify: (file) => file,
    read(name) {
      const file = name.replace('./', '');
      reads.push(file);
      const content = files[file];
      if (content === undefined) return { problem: 'there is no such file', near: [] };
      return {
        identity: file,
        file,
        content: new TextEncoder().encode(content),
        sha256: String(file.length).repeat(64),
      };
    },
  };
}

const compile = (files: Files, reads?: string[]): Compiled =>
  compilePipeline(files['top.yaml'] ?? '', 'top.yaml', [make], filesOf(files, reads));

const codes = ({ diagnostics }: Compiled): string[] =>
  diagnostics.map(({ file, line, code }) => `${file}:${line} ${code}`);

const part = (name: string, steps: string): string =>
  `pipeline: ${name}\nsteps:\n${steps}\noutputs:\n  word: \${{ steps.it.word }}\n`;

const IT = '  - { id: it, uses: test.make }';

test('each mistake is told once, in its own file: first those of the caller, then in the order of the calls', () => {
  const compiled = compile({
    'top.yaml':
      'pipeline: top\nsteps:\n  - pipeline: ./b.yaml\n  - pipeline: a.yaml\n  - pipeline: ./b.yaml\n  - uses: nothing\n',
    'a.yaml': 'pipeline: a\nsteps:\n  - uses: test.mke\n  - pipeline: ./c.yaml\n',
    'b.yaml': 'pipeline: b\nsteps:\n  - pipeline: ./c.yaml\n  - uses: test.mak\n',
    'c.yaml': 'pipeline: c\nsteps:\n  - uses: test.maek\n',
  });
  expect(codes(compiled)).toEqual([
    'top.yaml:6 STEP_TYPE_UNKNOWN',
    'b.yaml:4 STEP_TYPE_UNKNOWN',
    'c.yaml:3 STEP_TYPE_UNKNOWN',
    'a.yaml:3 STEP_TYPE_UNKNOWN',
  ]);
  for (const one of compiled.diagnostics) expect(sourceOf(compiled, one).file).toBe(one.file);
  expect(compiled.pipeline).toBeNull();
});

test('the plan holds the called files with their digests, and what only the run can check', () => {
  const { pipeline, source } = compile({
    'top.yaml': [
      'pipeline: top',
      'steps:',
      '  - { id: made, uses: test.make }',
      '  - id: call',
      '    pipeline: ./a.yaml',
      '    with: { word: "${{ steps.made.word }}", times: "${{ steps.made.anything }}", words: [a, "${{ steps.made.anything }}"] }',
      'outputs: { word: "${{ steps.call.word }}" }',
    ].join('\n'),
    'a.yaml': [
      'pipeline: a',
      'inputs: { word: { type: string }, times: { type: int, default: 2 }, words: { type: "list<string>" } }',
      'steps:',
      IT,
      'outputs: { word: "${{ steps.it.word }}" }',
    ].join('\n'),
  });
  if (pipeline === null) throw new Error('It has mistakes.');
  const { plan } = bindPipeline(pipeline, {
    inputs: new Map(),
    network: { coordinator: '', hotkey: '' },
    sourceSha256: '0'.repeat(64),
    source,
  });
  expect(plan?.steps[1]).toMatchObject({
    kind: 'pipeline',
    checks: { times: 'int', words: { list: 'string' } },
    called: {
      pipeline: 'a',
      file: './a.yaml',
      sourceSha256: '6'.repeat(64),
      inputs: [{ name: 'word' }, { name: 'times', default: 2 }, { name: 'words' }],
      steps: [{ kind: 'step', key: 'it' }],
    },
  });
  expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
});

test('the defaults and the names of a caller do not reach into what it calls', () => {
  const { pipeline, diagnostics } = compile({
    'top.yaml': part('top', `${IT}\n  - pipeline: ./a.yaml\ndefaults: { timeout: 9h }`),
    'a.yaml': part('a', IT),
  });
  expect(diagnostics).toEqual([]);
  expect(pipeline?.steps).toMatchObject([
    { options: { timeoutMs: 32_400_000 } },
    { called: { steps: [{ options: { timeoutMs: 60_000 } }] } },
  ]);
  const reaching = compile({
    'top.yaml': part('top', `${IT}\n  - pipeline: ./a.yaml`),
    'a.yaml':
      'pipeline: a\nsteps:\n  - { uses: test.make, with: { word: "${{ steps.it.word }}" } }\n',
  });
  expect(codes(reaching)).toEqual(['a.yaml:3 NAME_UNKNOWN']);
});

test('a file is read once for each that calls it, and too many calls of it are told once', () => {
  const reads: string[] = [];
  const long = part('a', `${IT}\n  - { uses: test.make, with: { word: "${'x'.repeat(400)}" } }`);
  const compiled = compile(
    {
      'top.yaml': `pipeline: top\nsteps:\n${'  - pipeline: ./a.yaml\n'.repeat(4_000)}`,
      'a.yaml': long,
    },
    reads,
  );
  expect(compiled.diagnostics.map(({ code }) => code)).toEqual(['PLAN_TOO_LARGE']);
  expect(reads).toEqual(['a.yaml']);
});

test('files that stand for a million of each other are checked as soon as their texts', () => {
  const levels = 9;
  const files: { [name: string]: string } = {};
  for (let level = 0; level < levels; level += 1) {
    const name = level === 0 ? 'top' : `l${level}`;
    const next =
      level === levels - 1 ? '  - uses: test.nothing' : `  - pipeline: ./l${level + 1}.yaml`;
    files[`${name}.yaml`] = `pipeline: ${name}\nsteps:\n${`${next}\n`.repeat(50)}`;
  }
  const compiled = compile(files);
  expect(compiled.diagnostics).toHaveLength(50);
  const right = Object.fromEntries(
    Object.entries(files).map(([name, text]) => [
      name,
      text.replaceAll('test.nothing', 'test.make'),
    ]),
  );
  expect(compile(right).diagnostics.map(({ code }) => code)).toEqual(['PLAN_TOO_LARGE']);
});

test('paths are as long as those of all files together', () => {
  const id = (letter: string): string => letter.repeat(64);
  const nested = (depth: number): string =>
    depth === 0
      ? '{ uses: test.make }'
      : `{ id: ${id('abcdefghijkl'[depth] ?? 'z')}, try: [${nested(depth - 1)}], finally: [{ wait: 1s }] }`;
  const files = (depth: number): Files => ({
    'top.yaml': `pipeline: top\nsteps:\n  - id: ${id('x')}\n    foreach: '[1]'\n    steps: [{ id: ${id('y')}, pipeline: ./a.yaml }]\n`,
    'a.yaml': `pipeline: a\nsteps: [${nested(depth)}]\n`,
  });
  expect(codes(compile(files(5)))).toEqual([]);
  expect(codes(compile(files(9)))).toEqual(['top.yaml:5 ID_INVALID']);
});

test('a file that is no pipeline shows nothing of what it holds', () => {
  const { diagnostics } = compile({
    'top.yaml': 'pipeline: top\nsteps:\n  - pipeline: ./secrets.yaml\n',
    'secrets.yaml': 'password: hunter2\n',
  });
  expect(diagnostics).toMatchObject([{ file: 'top.yaml', code: 'PIPELINE_FILE' }]);
  expect(JSON.stringify(diagnostics)).not.toContain('hunter2');
});
