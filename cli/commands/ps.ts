import type { Command } from 'commander';

export function registerPs(program: Command): void {
  program
    .command('ps')
    .description(
      'List the programs of this machine, its devices, and what its process host can promise.',
    )
    .option('--json', 'print { hosts: [...], programs: [...], unhosted: [...] }')
    .addHelpText('after', '\nExample:\n  $ adit ps --json')
    .action(async (options: { json?: boolean }) => {
      const { showPrograms } = await import('../show-programs.js');
      await showPrograms(options.json === true);
    });
}
