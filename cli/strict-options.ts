/** What no command takes: a value that is empty, an option where a value was meant, and two values where one counts. */
import type { Command, Option } from 'commander';
import { usage, type CliFailure } from './failure.js';
import { clean } from './output.js';

const UNSET = 'Is a variable of the shell not set?';

/** Refuses them for all options and arguments of a command. Throws CliFailure USAGE while the line is read. */
export function refuseDoubtfulValues(command: Command, argv: readonly string[]): void {
  for (const option of command.options) {
    if (!option.required && !option.optional) continue;
    const read = option.parseArg;
    let before: string | null = null;
    option.argParser((value: string, earlier: unknown): unknown => {
      assertValue(option, value, command, argv);
      if (before !== null && !isRepeatable(option)) throw givenTwice(option, before, value);
      before = value;
      return read === undefined ? value : read(value, earlier);
    });
  }
  command.hook('preAction', (_, { registeredArguments, args }) => {
    const at = args.findIndex(isEmpty);
    if (at === -1) return;
    const name = registeredArguments[Math.min(at, registeredArguments.length - 1)]?.name();
    throw usage(`The argument <${name ?? ''}> is empty.`, UNSET);
  });
}

/** Those collect their values in a list. */
function isRepeatable({ defaultValue }: Option): boolean {
  return Array.isArray(defaultValue);
}

function assertValue(
  option: Option,
  value: string,
  command: Command,
  argv: readonly string[],
): void {
  const flag = flagOf(option);
  if (isEmpty(value))
    throw usage(`${flag} is empty.`, `Give it a value, or leave it out. ${UNSET}`);
  const isOption = value === '--help' || command.options.some((other) => isCalled(other, value));
  if (isOption && argv.some((word, at) => isCalled(option, word) && argv[at + 1] === value)) {
    throw usage(
      `${flag} has no value: ${value} after it is an option.`,
      `Give it a value; should that be the value, write ${flag}=${value}.`,
    );
  }
}

function givenTwice(option: Option, first: string, second: string): CliFailure {
  const flag = flagOf(option);
  const [one, other] = [first, second].map((value) => clean(value, 60));
  return usage(`${flag} is given twice: "${one}" and "${other}".`, 'Give it once.');
}

function isCalled({ long, short }: Option, word: string): boolean {
  return word === long || word === short;
}

function flagOf({ long, short }: Option): string {
  return long ?? short ?? '';
}

function isEmpty(text: string): boolean {
  return text.trim() === '';
}
