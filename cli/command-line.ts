/** A command line: finds the command, loads only that one, runs it, and turns its end into an exit code. */
import { Command, CommanderError } from 'commander';
import { COMMANDS } from './command-list.js';
import { CliFailure, EXIT, toPrintedFailure, type ExitCode } from './failure.js';
import { printFailure } from './output.js';
import { findPackage } from '../adapters/package/find-package.js';
import { refuseDoubtfulValues } from './strict-options.js';

const HELP_FOOTER = `
Examples:
  $ adit demo                             a whole round on this machine, in about a minute
  $ adit check pipelines/*.yaml           all mistakes of a pipeline, before it runs
  $ adit test pipelines/*.test.yaml       its tests, in simulated time
  $ adit run pipelines/frontier-round.yaml --input task=SLUG --inputs-file inputs.yaml

Exit codes: 0 done · 1 failed · 2 wrong usage or a file that does not check · 3 stopped by a
decision · 4 cancelled · 5 no server · 130 watcher interrupted (the run goes on).`;

/** Runs one command line (without node and script); returns its exit code. Prints all there is to print. */
export async function runCommandLine(argv: readonly string[]): Promise<ExitCode> {
  // What the scripts of `adit completion` call: any words may follow, `--help` too.
  if (argv[0] === 'complete') {
    await (await import('./complete.js')).printCandidates(argv.slice(1));
    return EXIT.done;
  }
  const json = argv.includes('--json');
  try {
    const program = await createProgram(argv);
    if (argv.length === 0) {
      program.outputHelp();
      return EXIT.usage;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return (process.exitCode as ExitCode | undefined) ?? EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.done;
      const failure = toUsageFailure(error, argv);
      printFailure(failure, json);
      return failure.exitCode;
    }
    const failure = toPrintedFailure(error);
    printFailure(failure, json);
    if (process.env['ADIT_DEBUG'] === '1')
      process.stderr.write(`${(error as Error).stack ?? ''}\n`);
    return failure.exitCode;
  }
}

/** Loads the one command that `argv` names; of the others only names and summaries are needed. */
async function createProgram(argv: readonly string[]): Promise<Command> {
  const program = new Command('adit')
    .description('Durable pipelines for research mining on Bittensor subnet 94, on Temporal.')
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .showSuggestionAfterError()
    // So that `adit devnet` can hand on options that this program has too.
    .enablePositionalOptions()
    .addHelpText('after', HELP_FOOTER)
    .version(findPackage().version);
  const wanted = argv[0] === 'help' ? argv[1] : argv[0];
  for (const entry of COMMANDS) {
    if (entry.name === wanted) {
      await entry.register(program);
      for (const command of program.commands)
        if (command.name() === wanted) refuseDoubtfulValues(command, argv);
    } else program.command(entry.name).description(entry.summary);
  }
  return program;
}

/** Commander's message is `error: text` with a suggestion in parentheses after it. */
function toUsageFailure(error: CommanderError, argv: readonly string[]): CliFailure {
  // Of `adit help x` it only says that it has shown the help of `adit`.
  const text =
    error.code === 'commander.help'
      ? `unknown command '${argv[1] ?? ''}'`
      : error.message.replace(/^error: /, '');
  const [message = text, suggestion] = text.split('\n');
  const didYouMean = suggestion?.replace(/^\(|\)$/g, '');
  const command = COMMANDS.find(({ name }) => name === argv[0]);
  const help =
    command === undefined
      ? '`adit --help` lists the commands.'
      : `\`adit ${command.name} --help\` shows how it is used.`;
  const hint = didYouMean ?? help;
  return new CliFailure('USAGE', `${message[0]?.toUpperCase() ?? ''}${message.slice(1)}`, {
    hint,
    exitCode: EXIT.usage,
  });
}
