import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CliFailure } from './failure.js';
import { demoInputs, DEMO_TASKS } from './demo-inputs.js';
import { bindPlan, loadPipeline, readGivenInputs } from './load-plan.js';
import { findPackage } from '../adapters/package/find-package.js';

const network = { coordinator: '', hotkey: '' };
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-load-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, text: string): Promise<string> {
  await writeFile(path.join(folder, name), text);
  return path.join(folder, name);
}

const HELLO = `
pipeline: hello
inputs:
  name: { type: string }
  times: { type: int, default: 1 }
steps:
  - uses: process.run
    with: { command: "echo \${{ inputs.name }}" }
`;

describe('a plan from a file and inputs', () => {
  it('takes --input before the inputs file, a text as it is, and @ from a file', async () => {
    const loaded = await loadPipeline(await file('hello.yaml', HELLO));
    const inputsFile = await file('inputs.yaml', 'name: from the file\ntimes: 3\n');
    const named = await file('name.txt', '007');
    const both = readGivenInputs({ input: ['times=5'], inputsFile });
    expect(bindPlan(loaded, both, network).inputs).toEqual({ name: 'from the file', times: 5 });
    const text = readGivenInputs({ input: [`name=@${named}`] });
    expect(bindPlan(loaded, text, network).inputs).toEqual({ name: '007', times: 1 });
  });

  it('comes with what is warned of, for `adit run` to print', async () => {
    const { warnings } = await loadPipeline(await file('hello.yaml', HELLO));
    expect(warnings).toMatch(/hello\.yaml:5:3: warning: nothing reads the input `times`/);
  });

  it('tells every wrong input at once, and that nothing was started', async () => {
    const loaded = await loadPipeline(await file('hello.yaml', HELLO));
    const inputs = readGivenInputs({ input: ['times=many', 'nam=x'] });
    const bind = () => bindPlan(loaded, inputs, network);
    expect(bind).toThrow(/have 3 mistakes; nothing was started/);
    expect(bind).toThrow(/INPUT_UNKNOWN[^]*INPUT_MISSING|INPUT_MISSING[^]*INPUT_UNKNOWN/);
  });

  it('tells every mistake of the file, with exit code 2', async () => {
    const broken = await file(
      'broken.yaml',
      HELLO.replace('process.run', 'process.rum').replace('int', 'integer'),
    );
    await expect(loadPipeline(broken)).rejects.toMatchObject({
      code: 'PIPELINE_INVALID',
      exitCode: 2,
      message: expect.stringMatching(/broken\.yaml has 2 mistakes[^]*STEP_TYPE_UNKNOWN/),
    });
  });

  it.each([
    [
      'an --input without a name',
      () => readGivenInputs({ input: ['=x'] }),
      '--input takes NAME=VALUE; "=x" has no name.',
    ],
    [
      'an input that is given twice',
      () => readGivenInputs({ input: ['a=1', 'b=2', 'a=3'] }),
      '`a` is given twice: `--input a=1` and `--input a=3` (number 1 and number 3 of the --input options).',
    ],
    [
      'a file that is not there',
      () => readGivenInputs({ input: ['a=@/nowhere/x'] }),
      'The file of input a /nowhere/x cannot be read: there is no such file.',
    ],
  ])('refuses %s', (_what, read, message) => {
    expect(read).toThrow(message);
  });

  it('refuses an inputs file that is no map', async () => {
    const inputsFile = await file('inputs.yaml', '- task\n');
    const read = () => readGivenInputs({ input: [], inputsFile });
    expect(read).toThrow(`The file of --inputs-file ${inputsFile} must hold a map, not a list.`);
    await writeFile(inputsFile, '# nothing\n');
    expect(read).toThrow('must hold a map, not nothing.');
  });

  it('tells every mistake in the text of an inputs file, at its place', async () => {
    const inputsFile = await file(
      'inputs.yaml',
      'a: 1\na: 2\nb: !set [1]\n<<: { c: 1 }\nd: 0777\ne: "x\\0"\nf: *g\n',
    );
    const read = () => readGivenInputs({ input: [], inputsFile });
    for (const [place, message] of [
      ['2:1', 'the key `a` is already there in this map'],
      ['3:4', 'tags have no meaning'],
      ['4:1', 'merge keys are not part of YAML 1.2'],
      ['5:4', '`0777` begins with 0'],
      ['6:4', 'this text holds the character NUL'],
      ['7:4', 'there is no anchor `&g` above'],
    ] as const)
      expect(read).toThrow(`inputs.yaml:${place}: error: ${message}`);
    expect(read).toThrow(/^The file of --inputs-file has 6 mistakes:/);
  });

  it.each([
    ['deep nesting', `a: ${'['.repeat(100_000)}`, 'nested more than 100 deep'],
    [
      'an alias bomb',
      Array.from(
        { length: 9 },
        (_, at) =>
          `a${at}: &a${at} [${Array.from({ length: 10 }, () => (at === 0 ? 'x' : `*a${at - 1}`)).join(', ')}]`,
      ).join('\n'),
      'stand for more than 200000 values',
    ],
    ['a long text', `a: ${'x'.repeat(2_000_000)}`, 'it has more than 1 MiB'],
    [
      'another encoding',
      Buffer.from('b: 1\na: caf\u00e9', 'latin1'),
      'line 2 holds bytes of another',
    ],
    ['UTF-16', Buffer.from('a: 1\n', 'utf16le'), 'it is UTF-16'],
    ['NUL', 'a: 1\0\n', 'line 1 holds the byte NUL'],
  ])('refuses an inputs file with %s', async (_what, content, message) => {
    const inputsFile = path.join(folder, 'inputs.yaml');
    await writeFile(inputsFile, content);
    let told = '';
    try {
      readGivenInputs({ input: [], inputsFile });
    } catch (error) {
      const failure = error as CliFailure;
      expect(failure.exitCode).toBe(2);
      told = `${failure.message} ${failure.hint}`;
    }
    expect(told).toContain(message);
  });

  it('shows where a wrong input stands in its file', async () => {
    const loaded = await loadPipeline(await file('hello.yaml', HELLO));
    const inputsFile = await file('inputs.yaml', 'name: 007x\n\ntimes: many\nnam: x\n');
    const bind = () => bindPlan(loaded, readGivenInputs({ input: [], inputsFile }), network);
    expect(bind).toThrow(`has no input \`nam\` (${inputsFile}:4:1)`);
    expect(bind).toThrow(`correct it at ${inputsFile}:3:1, such as \`times: 3\``);
  });

  it('is never read further than a person would write, whatever is named', async () => {
    const read = () => readGivenInputs({ input: [], inputsFile: '/dev/zero' });
    expect(read).toThrow('it has more than 1 MiB');
    await expect(loadPipeline('/dev/zero')).rejects.toThrow('[FILE_TOO_LARGE]');
    await expect(loadPipeline(folder)).rejects.toThrow('cannot be read: it is a folder');
  });

  it.each(DEMO_TASKS)('binds the inputs of the demo for %s', async (task) => {
    const loaded = await loadPipeline(
      path.join(findPackage().root, 'pipelines/frontier-round.yaml'),
    );
    const inputs = new Map(
      Object.entries(demoInputs(task)).map(([name, value]) => [name, { value }]),
    );
    expect(bindPlan(loaded, inputs, network).inputs['task']).toBe(task);
  });
});
