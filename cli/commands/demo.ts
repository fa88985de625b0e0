import { Option, type Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { DEMO_TASKS } from '../demo-inputs.js';

export interface DemoOptions extends ServerFlags {
  readonly task: string;
  readonly keep?: boolean;
  /** True for the last unfinished run, or a run id. */
  readonly resume?: boolean | string;
  readonly stop?: boolean;
  readonly json?: boolean;
}

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description(
      'Run pipelines/frontier-round.yaml once against the local network, on a Temporal server of its own. Exits 0 only if the reward proof verified.',
    )
    .addOption(
      new Option('--task <slug>', 'task of the local network')
        .choices(DEMO_TASKS)
        .default(DEMO_TASKS[0]),
    )
    .option('--keep', 'leave server, local network and worker running when the run has ended')
    .option('--resume [run]', 'go on with a run that was interrupted (the last one, without an id)')
    .option('--stop', 'end what `adit demo --keep` left running')
    .option(
      '--address <host:port>',
      'use this Temporal server; without it the demo starts one of its own, whatever the environment names',
    )
    .option('--namespace <name>', 'Temporal namespace, with --address')
    .option('--json', 'print the run and what it proved as JSON')
    .addHelpText('after', '\nExample:\n  $ adit demo --keep\n  $ adit demo --stop')
    .action(async (options: DemoOptions) => {
      const { runDemo, stopDemo } = await import('../run-demo.js');
      if (options.stop === true) await stopDemo(options.json === true);
      else process.exitCode = await runDemo(options);
    });
}
