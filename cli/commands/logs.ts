import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export interface LogsOptions extends ServerFlags {
  readonly follow?: boolean;
  readonly start?: number | 'all';
  readonly raw?: boolean;
}

export function registerLogs(program: Command): void {
  addServerOptions(program.command('logs'))
    .description(
      'Print what the programs of a run wrote, while they run and after. Known secrets are masked.',
    )
    .argument('<run>', 'run id')
    .argument(
      '[step]',
      'path of a step, or its id; without it all programs in the order of their starts',
    )
    .option('-f, --follow', 'go on until the program has ended, its later starts included')
    .option(
      '--start <n>',
      'which start of the step: a number, or `all` (default: the last)',
      toStart,
    )
    .option('--raw', 'leave terminal escapes as they are, also at a terminal')
    .addHelpText(
      'after',
      '\nExamples:\n  $ adit logs frontier-round-20261121-101500-k3fq candidates#0/trained --follow\n  $ adit logs frontier-round-20261121-101500-k3fq trained --start all > trained.log',
    )
    .action(async (runId: string, step: string | undefined, options: LogsOptions) => {
      const { showLogs } = await import('../show-logs.js');
      await showLogs(runId, step, options);
    });
}

function toStart(text: string): number | 'all' {
  if (text === 'all') return text;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a whole number from 1, or `all`.');
}
