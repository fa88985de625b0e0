import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadSettings } from '../adapters/settings/settings.js';
import { runCommand } from '../test/support/command.js';
import { askAnswers } from './ask-answers.js';
import { demoInputs } from './demo-inputs.js';
import { bindPlan, loadPipeline, readGivenInputs } from './load-plan.js';

let folder: string;
const at = (name: string): string => path.join(folder, name);
const TASK = ['--task', 'tiny-ternary-frontier'];
const TRAIN = [
  '--train',
  `python3 train.py --note "it's: a # test" --output "$ADIT_OUTPUT_DIR/artifact"`,
];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-init-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe('adit init', () => {
  it('writes a pipeline that checks, a test that passes, and inputs that it can be run with', async () => {
    const { exitCode, stdout, stderr } = await runCommand('init', folder, ...TASK, ...TRAIN);
    expect(stderr).toBe('');
    expect(exitCode).toBe(0);
    expect((await readdir(folder)).sort()).toEqual([
      'round.inputs.yaml',
      'round.test.yaml',
      'round.yaml',
    ]);
    expect(stdout).toContain(`adit test ${at('round.test.yaml')}`);
    const files = [at('round.yaml'), at('round.test.yaml')];
    expect(await runCommand('check', '--deny-warnings', ...files)).toMatchObject({ exitCode: 0 });
    expect(await runCommand('test', at('round.test.yaml'))).toMatchObject({ exitCode: 0 });
    const all = [...files, at('round.inputs.yaml')];
    expect(await runCommand('fmt', '--check', ...all)).toMatchObject({ exitCode: 0 });

    const inputs = readGivenInputs({ input: [], inputsFile: at('round.inputs.yaml') });
    const plan = bindPlan(await loadPipeline(at('round.yaml')), inputs, {
      coordinator: '',
      hotkey: '',
    });
    expect(plan.pipeline).toBe('round');
    expect(plan.inputs).toMatchObject({
      task: 'tiny-ternary-frontier',
      train: TRAIN[1],
      recipes: demoInputs('tiny-ternary-frontier')['recipes'],
    });
  });

  it('names the schemas by paths that lead to them', async () => {
    await runCommand('init', folder, ...TASK, ...TRAIN);
    for (const name of ['round.yaml', 'round.test.yaml']) {
      const [line = ''] = (await readFile(at(name), 'utf8')).split('\n');
      const schema = /^# yaml-language-server: \$schema=(\S+)$/.exec(line)?.[1] ?? '';
      expect(JSON.parse(await readFile(at(schema), 'utf8'))).toHaveProperty(
        name === 'round.yaml' ? 'properties.pipeline' : 'properties.tests',
      );
    }
  });

  it('leaves recipes to be filled in where the task is not of the local network', async () => {
    await runCommand('init', folder, '--name', 'mine', '--task', 'frontier-27b', ...TRAIN);
    const inputs: unknown = parse(await readFile(at('mine.inputs.yaml'), 'utf8'));
    expect(inputs).toMatchObject({ recipes: [{ name: 'my first idea' }] });
    expect(await readFile(at('mine.yaml'), 'utf8')).toMatch(/^pipeline: mine$/m);
    expect(await runCommand('test', at('mine.test.yaml'))).toMatchObject({ exitCode: 0 });
  });

  it('names the wallet in the settings, which are read from there', async () => {
    const hotkey = at('hotkeys/me');
    await runCommand('init', folder, ...TASK, ...TRAIN, '--hotkey-file', hotkey);
    expect(loadSettings({}, folder).hotkeyFile).toBe(hotkey);
    for (const name of ['round.yaml', 'round.test.yaml', 'round.inputs.yaml'])
      expect(await readFile(at(name), 'utf8')).not.toContain(hotkey);
  });

  it('leaves settings that are there, and says what to write into them', async () => {
    await writeFile(at('adit.config.yaml'), 'taskQueue: mine\n');
    const { exitCode, stderr } = await runCommand(
      'init',
      folder,
      ...TASK,
      ...TRAIN,
      '--hotkey-file',
      at('me'),
    );
    expect(exitCode).toBe(0);
    expect(stderr).toContain(`hotkeyFile: ${at('me')}`);
    expect(await readFile(at('adit.config.yaml'), 'utf8')).toBe('taskQueue: mine\n');
  });

  it('changes no file that is there, and then writes none', async () => {
    await writeFile(at('round.test.yaml'), 'mine\n');
    const { exitCode, stderr } = await runCommand('init', folder, ...TASK, ...TRAIN);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(at('round.test.yaml'));
    expect(await readdir(folder)).toEqual(['round.test.yaml']);
    expect(await readFile(at('round.test.yaml'), 'utf8')).toBe('mine\n');
  });

  it('asks nobody without a terminal: it says what is missing', async () => {
    const { exitCode, stderr } = await runCommand('init', folder, ...TASK);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--train is missing');
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([
    [['--name', 'My Round', ...TASK, ...TRAIN], 'is not a name for a pipeline'],
    [['--task', 'a b', ...TRAIN], 'A slug is a word'],
    [[...TASK, '--train', 'a\nb'], 'A command is one line'],
    [[...TASK, '--train', 'echo ${{ inputs.task }}'], 'put the command into a script'],
    [[...TASK, ...TRAIN, '--hotkey-file', '/w/coldkeypub.txt'], 'never opened'],
  ])('refuses %j', async (args, message) => {
    const { exitCode, stderr } = await runCommand('init', folder, ...args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
    expect(await readdir(folder)).toEqual([]);
  });

  it('tells as JSON what it has written', async () => {
    const { stdout } = await runCommand('init', folder, ...TASK, ...TRAIN, '--json');
    expect(JSON.parse(stdout)).toEqual({
      pipeline: 'round',
      files: ['round.yaml', 'round.test.yaml', 'round.inputs.yaml'].map(at),
    });
  });
});

describe('questions', () => {
  const questions = [
    () => ({
      text: 'Slug',
      otherwise: '',
      refuse: (answer: string) => (answer === '' ? 'Say one.' : null),
    }),
    ([slug = '']: readonly string[]) => ({
      text: 'Command',
      otherwise: `make ${slug}`,
      refuse: () => null,
    }),
  ];

  it('are asked until the answer will do, and an empty one takes what is offered', async () => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const answers = askAnswers(questions, { input, output });
    input.write('\n a-task \n\n');
    expect(await answers).toEqual(['a-task', 'make a-task']);
    expect(String(output.read())).toBe('Slug: Say one.\nSlug: Command [make a-task]: ');
  });

  it('end when the person leaves', async () => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const answers = askAnswers(questions, { input, output });
    input.end('a-task\n');
    await expect(answers).rejects.toMatchObject({ code: 'INTERRUPTED', exitCode: 130 });
  });
});
