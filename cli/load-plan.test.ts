import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { demoInputs, DEMO_TASKS } from './demo-inputs.js';
import { bindPlan, loadPipeline, readGivenInputs } from './load-plan.js';
import { findPackage } from './package-root.js';

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
      'The file of input a cannot be read',
    ],
  ])('refuses %s', (_what, read, message) => {
    expect(read).toThrow(message);
  });

  it('refuses an inputs file that is no map', async () => {
    const inputsFile = await file('inputs.yaml', '- task\n');
    expect(() => readGivenInputs({ input: [], inputsFile })).toThrow('must hold a map of inputs');
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
