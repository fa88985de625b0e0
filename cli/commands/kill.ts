import type { Command } from 'commander';

export function registerKill(program: Command): void {
  program
    .command('kill')
    .description(
      'End the programs of a run, or of one of its steps, on this machine: the step fails with PROGRAM_KILLED.',
    )
    .argument('<run>', 'run id')
    .argument('[step]', 'path of the step, or its id')
    .option('--json', 'print { runId, ended: [...] }')
    .addHelpText(
      'after',
      '\nExample:\n  $ adit kill frontier-round-20261121-101500-k3fq candidates#0/trained',
    )
    .action(async (runId: string, step: string | undefined, options: { json?: boolean }) => {
      const { killPrograms } = await import('../steer-programs.js');
      await killPrograms(runId, step, options.json === true);
    });
}
