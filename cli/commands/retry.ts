import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export interface RetryOptions extends ServerFlags {
  readonly from?: string;
  readonly detach?: boolean;
  readonly json?: boolean;
}

export function registerRetry(program: Command): void {
  addServerOptions(program.command('retry'))
    .description(
      'Start a new run of the same plan and round. Steps that have succeeded are not run again; an effect is looked up before it is repeated.',
    )
    .argument('<run>', 'id of a run that has ended')
    .option('--from <step>', 'run this step (its path or id) and all that comes after it again')
    .option('--detach', 'print the ids and leave')
    .option('--json', 'print the run as JSON when it has ended, with retryOf, reused and rerun')
    .addHelpText(
      'after',
      '\nExample:\n  $ adit retry frontier-round-20261121-101500-k3fq\n  $ adit retry frontier-round-20261121-101500-k3fq --from verdict --detach',
    )
    .action(async (runId: string, options: RetryOptions) => {
      const { retryRun } = await import('../retry-run.js');
      process.exitCode = await retryRun(runId, options);
    });
}
