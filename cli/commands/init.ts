import type { Command } from 'commander';
import type { InitOptions } from '../run-init.js';

export function registerInit(program: Command): void {
  program
    .command('init')
    .description('Write a first pipeline, a test of it, its inputs and the settings of a wallet.')
    .argument('[folder]', 'where the files go', '.')
    .option('--name <name>', 'name of the pipeline, and of its files', 'round')
    .option('--task <slug>', 'slug of the task')
    .option('--train <command>', 'command that trains one candidate')
    .option('--hotkey-file <file>', 'hotkey file of the wallet; it is named in adit.config.yaml')
    .option('--json', 'ask nothing, and print { pipeline, files }')
    .addHelpText(
      'after',
      '\nWhat is not given is asked for, at a terminal. No file that is there is changed.\n\nExample:\n  $ adit init my-round --task tiny-ternary-frontier',
    )
    .action(async (folder: string, options: InitOptions) => {
      const { runInit } = await import('../run-init.js');
      await runInit(folder, options);
    });
}
