import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { STEP_TYPES } from '../activities/registry.js';
import { compilePipeline } from '../compiler/compile.js';
import { printDiagnostic } from '../compiler/diagnostic.js';
import { PIPELINE_NAME } from '../compiler/parse.js';
import { askAnswers, type Question } from './ask-answers.js';
import { demoInputs, DEMO_TASKS } from './demo-inputs.js';
import { CliFailure, EXIT, usage } from './failure.js';
import { formatText } from './format-text.js';
import { CONFIG_FILE, initFiles, type InitAnswers } from './init-files.js';
import { clean, note, paint, print, printJson } from './output.js';
import { ownName } from './own-name.js';
import { findPackage } from '../adapters/package/find-package.js';
import { schemasFrom } from './schemas-from.js';

export interface InitOptions {
  readonly name: string;
  readonly task?: string;
  readonly train?: string;
  readonly hotkeyFile?: string;
  readonly json?: boolean;
}

/** Where wallets lie by Bittensor's own tools. */
const DEFAULT_HOTKEY = '~/.bittensor/wallets/default/hotkeys/default';

/** Writes a first pipeline, its test and its inputs into a folder. Throws USAGE, FILE_EXISTS; then nothing is written. */
export async function runInit(folder: string, options: InitOptions): Promise<void> {
  if (!PIPELINE_NAME.test(options.name))
    throw usage(
      `\`${clean(options.name, 100)}\` is not a name for a pipeline.`,
      'Lower-case letters, digits, `-` and `_`, at most 64: --name my-round',
    );
  const answers = await readAnswers(options);
  const { root } = findPackage();
  const hasConfig = existsSync(path.join(folder, CONFIG_FILE));
  const shipped = (name: string): string =>
    readFileSync(path.join(root, 'pipelines', name), 'utf8');
  const drafts = initFiles(
    { ...answers, hotkeyFile: hasConfig ? null : answers.hotkeyFile },
    {
      pipeline: shipped('frontier-round.yaml'),
      tests: shipped('frontier-round.test.yaml'),
      schemas: schemasFrom(folder),
    },
  );
  const files = new Map<string, string>();
  for (const [name, draft] of drafts) files.set(name, await formatted(draft, name));
  assertChecks(files.get(`${answers.name}.yaml`) ?? '', `${answers.name}.yaml`);
  await createFiles(folder, files);
  tell(folder, [...files.keys()], answers, { json: options.json === true, hasConfig });
}

async function readAnswers(options: InitOptions): Promise<InitAnswers> {
  const given = { task: options.task, train: options.train, hotkeyFile: options.hotkeyFile };
  for (const [key, question] of Object.entries(questions(given.task))) {
    const value = given[key as keyof typeof given];
    const problem = value === undefined ? null : question.refuse(value);
    if (problem !== null) throw usage(problem, `It was given as --${flagOf(key)}.`);
  }
  const missing = Object.entries(given).filter(([, value]) => value === undefined);
  const canAsk = process.stdin.isTTY && process.stderr.isTTY && options.json !== true;
  const needed = missing.filter(([key]) => key !== 'hotkeyFile').map(([key]) => `--${flagOf(key)}`);
  if (needed.length > 0 && !canAsk)
    throw usage(
      `Without a terminal nobody can be asked: ${needed.join(' and ')} ${needed.length === 1 ? 'is' : 'are'} missing.`,
      `For example: ${ownName()} init --task ${DEMO_TASKS[0]} --train 'python3 train.py --output "$ADIT_OUTPUT_DIR/artifact"'`,
    );
  const answers: { [key: string]: string | undefined } = { ...given };
  if (needed.length > 0) {
    const keys = missing.map(([key]) => key as keyof typeof given);
    // What the task is decides what is offered for the command.
    const told = await askAnswers(
      keys.map((key) => (before) => questions(given.task ?? before[0])[key]),
      { input: process.stdin, output: process.stderr },
    );
    keys.forEach((key, place) => {
      answers[key] = told[place];
    });
  }
  const hotkeyFile = answers['hotkeyFile'] ?? '';
  return {
    name: options.name,
    task: (answers['task'] ?? '').trim(),
    train: (answers['train'] ?? '').trim(),
    hotkeyFile: hotkeyFile === '' ? null : path.resolve(toHome(hotkeyFile)),
  };
}

function questions(task: string | undefined): {
  readonly [key in 'task' | 'train' | 'hotkeyFile']: Question;
} {
  const isLocal = DEMO_TASKS.some((slug) => slug === task);
  return {
    task: {
      text: `Slug of the task (of the local network: ${DEMO_TASKS.join(', ')})`,
      otherwise: '',
      refuse: (answer) =>
        /^[\w.-]{1,200}$/.test(answer.trim())
          ? null
          : 'A slug is a word of letters, digits, `-`, `_` and `.`.',
    },
    train: {
      text: 'Command that trains one candidate, and leaves it as $ADIT_OUTPUT_DIR/artifact',
      otherwise: isLocal ? String(demoInputs(task ?? '')['train']) : '',
      refuse: (answer) =>
        answer.trim() === ''
          ? 'A command is needed.'
          : // oxlint-disable-next-line no-control-regex
            /[\u0000-\u001f\u007f]/.test(answer)
            ? 'A command is one line; put more into a script.'
            : // A default is a plain value.
              answer.includes('${{')
              ? 'In a pipeline `${{` begins an expression; put the command into a script.'
              : null,
    },
    hotkeyFile: {
      text: 'Hotkey file of your wallet (empty: say it later, in the settings)',
      otherwise: existsSync(toHome(DEFAULT_HOTKEY)) ? DEFAULT_HOTKEY : '',
      refuse: (answer) =>
        /^coldkey/i.test(path.basename(answer))
          ? 'This is a coldkey, which is never opened: name a hotkey file.'
          : // oxlint-disable-next-line no-control-regex
            /[\u0000-\u001f\u007f]/.test(answer)
            ? 'This is no path.'
            : null,
    },
  };
}

function flagOf(key: string): string {
  return key === 'hotkeyFile' ? 'hotkey-file' : key;
}

function toHome(file: string): string {
  return file.startsWith('~/') ? path.join(homedir(), file.slice(2)) : file;
}

async function formatted(draft: string, name: string): Promise<string> {
  const result = await formatText(Buffer.from(draft), name);
  if (result.kind === 'formatted') return result.text;
  throw new Error(`What was made for ${name} is no YAML: ${JSON.stringify(result)}`);
}

/** What was answered becomes a part of the pipeline: a pipeline that does not check is not written. */
function assertChecks(text: string, file: string): void {
  const { pipeline, diagnostics, source } = compilePipeline(text, file, STEP_TYPES);
  const told = diagnostics.map((diagnostic) => printDiagnostic(diagnostic, source)).join('\n\n');
  if (pipeline === null)
    throw new CliFailure('PIPELINE_INVALID', `With these answers it does not check.\n\n${told}`, {
      hint: 'Nothing was written.',
      exitCode: EXIT.usage,
    });
  if (told !== '') note(`${told}\n`);
}

/** All of them or none; none that is there is touched. */
async function createFiles(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  const taken = [...files.keys()].filter((name) => existsSync(path.join(folder, name)));
  if (taken.length > 0) throw exists(folder, taken);
  const made: string[] = [];
  try {
    await mkdir(folder, { recursive: true });
    for (const [name, text] of files) {
      const file = path.join(folder, name);
      await writeFile(file, text, { flag: 'wx' });
      made.push(file);
    }
  } catch (error) {
    for (const file of made) await rm(file, { force: true });
    const { code, path: at = folder } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw exists(path.dirname(at), [path.basename(at)]);
    const reason = error instanceof Error ? error.message : String(error);
    throw new CliFailure(
      'FILE_UNWRITABLE',
      `${clean(folder)} cannot be written: ${clean(reason)}`,
      {
        hint: 'Nothing was written.',
      },
    );
  }
}

function exists(folder: string, names: readonly string[]): CliFailure {
  const list = names.map((name) => clean(path.join(folder, name))).join(', ');
  return new CliFailure('FILE_EXISTS', `There is already ${list}; nothing was written.`, {
    hint: 'Choose another folder, or another name: --name my-round',
    exitCode: EXIT.usage,
  });
}

function tell(
  folder: string,
  names: readonly string[],
  { name, hotkeyFile, task }: InitAnswers,
  { json, hasConfig }: { readonly json: boolean; readonly hasConfig: boolean },
): void {
  const written = names.map((one) => path.join(folder, one));
  if (json) {
    printJson({ pipeline: name, files: written });
    return;
  }
  for (const file of written) print(`${paint.green('wrote')} ${clean(file)}`);
  if (hotkeyFile !== null && hasConfig)
    note(
      `${CONFIG_FILE} is left as it is: name the hotkey there, hotkeyFile: ${clean(hotkeyFile)}`,
    );
  else if (hotkeyFile !== null && !existsSync(hotkeyFile))
    note(`There is no file ${clean(hotkeyFile)} yet.`);
  const at = (suffix: string): string => clean(path.join(folder, `${name}${suffix}`));
  const isLocal = DEMO_TASKS.some((slug) => slug === task);
  const next = [
    `${ownName()} check ${at('.yaml')}`,
    `${ownName()} test ${at('.test.yaml')}`,
    ...(isLocal
      ? [`${ownName()} dev     (in another terminal: the local network has this task)`]
      : []),
    `${ownName()} run ${at('.yaml')} --inputs-file ${at('.inputs.yaml')}`,
  ];
  print(`\nNext, with your recipes in ${at('.inputs.yaml')}:`);
  for (const command of next) print(`  ${command}`);
}
