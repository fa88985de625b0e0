/** What a shell offers behind a half-written command: `adit complete -- WORDS`, which the scripts of `adit completion` call. */
import { Command, type Argument, type Option } from 'commander';
import { COMMANDS } from './command-list.js';
import { clean } from './output.js';

/** Whether files stand there too, as the scripts read it. */
const DIRECTIVE = { files: 0, noFiles: 4 } as const;

interface Candidates {
  /** Words with what they mean. */
  readonly words: readonly (readonly [string, string])[];
  /** Files stand there too. */
  readonly files: boolean;
}

const NOTHING: Candidates = { words: [], files: false };
const FILES: Candidates = { words: [], files: true };

/** Prints the candidates for the last of the words, one a line, and then the directive. Never fails: a shell shows no errors. */
export async function printCandidates(argv: readonly string[]): Promise<void> {
  // bash makes three words of `--task=tiny`.
  const words = (argv[0] === '--' ? argv.slice(1) : argv).filter(
    (word, at, all) => word !== '=' || at === all.length - 1,
  );
  const last = words.at(-1) ?? '';
  const current = last === '=' ? '' : last;
  let lines: string[] = [];
  let directive: number = DIRECTIVE.noFiles;
  try {
    const found = await candidatesFor(words.slice(0, -1), current);
    lines = found.words
      .filter(([word]) => word.startsWith(current))
      .map(([word, meaning]) => `${word}\t${clean(meaning, 120)}`);
    if (found.files) directive = DIRECTIVE.files;
  } catch {
    // Settings that cannot be read, an evidence folder that is gone: then there are no candidates.
  }
  process.stdout.write([...lines, `:${directive}`, ''].join('\n'));
}

async function candidatesFor(before: readonly string[], current: string): Promise<Candidates> {
  const [name, ...rest] = before;
  const names = COMMANDS.map((entry) => [entry.name, entry.summary] as const);
  if (name === undefined || (name === 'help' && rest.length === 0))
    return {
      words: name === 'help' ? names : [...names, ['help', 'Help of a command.']],
      files: false,
    };
  const entry = COMMANDS.find((one) => one.name === name);
  if (entry === undefined) return NOTHING;
  const program = new Command('adit');
  await entry.register(program);
  const command = program.commands.find((one) => one.name() === name);
  if (command === undefined) return NOTHING;

  const options = command.createHelp().visibleOptions(command);
  const open = optionOf(options, before.at(-1) ?? '');
  if (open !== null && takesValue(open)) return ofChoices(open.argChoices);
  if (current.startsWith('-')) {
    const words = options.flatMap(({ long, description }) =>
      long === undefined || long === null ? [] : [[long, description] as const],
    );
    return { words, files: false };
  }
  const place = positionals(options, rest);
  const argument =
    command.registeredArguments[place] ??
    command.registeredArguments.findLast((one) => one.variadic);
  return argument === undefined ? NOTHING : ofArgument(argument);
}

function ofChoices(choices: readonly string[] | undefined): Candidates {
  return choices === undefined ? FILES : { words: choices.map((word) => [word, '']), files: false };
}

/** By what commands call their arguments. */
async function ofArgument(argument: Argument): Promise<Candidates> {
  if (argument.argChoices !== undefined) return ofChoices(argument.argChoices);
  switch (argument.name()) {
    case 'type': {
      const { STEP_TYPES } = await import('../activities/registry.js');
      return { words: STEP_TYPES.map(({ name, summary }) => [name, summary]), files: false };
    }
    case 'run':
      return { words: await runIds(), files: false };
    case 'target':
      return { words: await runIds(), files: true };
    case 'file':
    case 'folder':
      return FILES;
    default:
      return NOTHING;
  }
}

/** The runs that this machine knows, the newest first; no server is asked. */
async function runIds(): Promise<(readonly [string, string])[]> {
  const { readSettings } = await import('./session.js');
  const { evidenceRoots } = await import('./run-record.js');
  const { createEvidence } = await import('../adapters/evidence/evidence.js');
  const { timeOfRunId } = await import('./run-id.js');
  const roots = evidenceRoots((await readSettings()).stateDir);
  const lists = await Promise.all(
    roots.map((root) =>
      createEvidence(root)
        .listRuns()
        .catch((): string[] => []),
    ),
  );
  return lists
    .flat()
    .map((runId) => [runId, timeOfRunId(runId) ?? ''] as const)
    .toSorted(([, a], [, b]) => (a < b ? 1 : a > b ? -1 : 0));
}

/** How many arguments stand there already. */
function positionals(options: readonly Option[], words: readonly string[]): number {
  let count = 0;
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const option = optionOf(options, word);
    if (option !== null && takesValue(option)) at += 1;
    else if (!word.startsWith('-') || word === '-') count += 1;
  }
  return count;
}

/** The option that a word names without its value; null when it is none, or has its value with it. */
function optionOf(options: readonly Option[], word: string): Option | null {
  return (
    options.find(({ long, short }) => word !== '' && (word === long || word === short)) ?? null
  );
}

/** One whose value may be left out is not waited for. */
function takesValue(option: Option): boolean {
  return option.required;
}
