import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { COMMANDS } from './command-list.js';
import { runCommandLine } from './command-line.js';

let err: string;

beforeEach(() => {
  // What is refused here is refused before a setting is read, a file opened or a server asked.
  vi.stubEnv('ADIT_CONFIG', '/nowhere/adit.yaml');
  err = '';
  vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  process.exitCode = undefined;
});

/** Every command with its options that take a value, and words for the arguments that it needs. */
const COMMAND_LINES = await Promise.all(
  COMMANDS.map(async ({ name, register }) => {
    const program = new Command();
    await register(program);
    const [command] = program.commands;
    const needed = (command?.registeredArguments ?? []).filter(({ required }) => required);
    return {
      name,
      words: needed.map((_, at) => `word-${at}`),
      // Those with a reading of their own refuse an empty text in their own words.
      hasArguments: (command?.registeredArguments ?? []).some(({ parseArg }) => !parseArg),
      options: (command?.options ?? []).filter((option) => option.required || option.optional),
    };
  }),
);

const OPTIONS = COMMAND_LINES.flatMap(({ name, words, options }) =>
  options.map((option) => ({ name, words, option, flag: option.long ?? '' })),
);

describe('every option of every command that takes a value', () => {
  it.each(OPTIONS)('$name $flag is refused without one', async ({ name, words, flag }) => {
    for (const given of [[flag, ''], [flag, '  '], [`${flag}=`]]) {
      err = '';
      expect(await runCommandLine([name, ...words, ...given])).toBe(2);
      expect(err).toBe(
        `error: ${flag} is empty.\nGive it a value, or leave it out. Is a variable of the shell not set?\n`,
      );
    }
  });

  it.each(OPTIONS.filter(({ option }) => !Array.isArray(option.defaultValue)))(
    '$name $flag is refused when it is given twice',
    async ({ name, words, option, flag }) => {
      const value = option.argChoices?.[0] ?? '3d';
      const isNumber = ['--limit', '--start', '--idle-exit', '--pairs', '--jobs'].includes(flag);
      const one = isNumber ? '3' : value;
      expect(await runCommandLine([name, ...words, flag, one, flag, one])).toBe(2);
      expect(err).toBe(`error: ${flag} is given twice: "${one}" and "${one}".\nGive it once.\n`);
    },
  );
});

describe('an argument', () => {
  it.each(COMMAND_LINES.filter(({ hasArguments }) => hasArguments))(
    'of `adit $name` is refused when it is empty',
    async ({ name, words }) => {
      expect(await runCommandLine([name, ...words.slice(0, -1), ''])).toBe(2);
      expect(err).toMatch(/^error: The argument <\w+> is empty\.\nIs a variable of the shell/);
    },
  );
});

describe('an option where a value was meant', () => {
  it('is told, and how to write it when it is the value', async () => {
    expect(await runCommandLine(['cancel', 'run-1', '--reason', '--force'])).toBe(2);
    expect(err).toBe(
      'error: --reason has no value: --force after it is an option.\nGive it a value; should that be the value, write --reason=--force.\n',
    );
    err = '';
    await runCommandLine(['cancel', 'run-1', '--reason=--force']);
    expect(err).toContain('/nowhere/adit.yaml');
  });

  it('may be what a value begins with', async () => {
    await runCommandLine(['cancel', 'run-1', '--reason', '--force did not help']);
    expect(err).toContain('/nowhere/adit.yaml');
  });
});
