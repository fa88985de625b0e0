import { InvalidArgumentError, Option, type Command } from 'commander';

export interface RehearseOptions {
  readonly full?: boolean;
  readonly quick?: boolean;
  readonly seed: string;
  readonly pairs: number;
  readonly jobs: number;
  readonly replay?: string;
  readonly list?: boolean;
  readonly json?: boolean;
}

export function registerRehearse(program: Command): void {
  program
    .command('rehearse')
    .description(
      'Run a pipeline on a local network again and again, each time with a fault at one of its boundaries, and check what became of it. Nothing else is reached.',
    )
    .argument('<file>', 'a pipeline; beside it lies FILE.rehearse.yaml, written when it is missing')
    .addOption(
      new Option(
        '--quick',
        'every fault at every effect, one at each other step; without --full',
      ).conflicts(['full', 'replay']),
    )
    .addOption(
      new Option('--full', 'every fault at every boundary, and pairs of them').conflicts('replay'),
    )
    .option('--seed <text>', 'draws other pairs', 'adit')
    .option('--pairs <count>', 'how many pairs --full plays', toWhole(0, 10_000), 24)
    .option('--jobs <count>', 'how many runs at one time', toWhole(1, 64), 3)
    .option('--replay <schedule>', 'play this one alone')
    .option('--list', 'print what would be played, after one run without a fault')
    .option('--json', 'print { file, seed, boundaries, coverage, runs, failures }')
    .addHelpText(
      'after',
      "\nExamples:\n  $ adit rehearse round.yaml\n  $ adit rehearse round.yaml --replay 'drop_reply@reply:coordinator:POST:/api/v1/submissions:1'",
    )
    .action(async (file: string, options: RehearseOptions) => {
      const { rehearse } = await import('../rehearsal/rehearse.js');
      process.exitCode = await rehearse(file, options);
    });
}

function toWhole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}
