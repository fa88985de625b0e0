import type { Command } from 'commander';

export function registerExtend(program: Command): void {
  program
    .command('extend')
    .description(
      "Move the time limit of a step's running program; its later starts keep the new one.",
    )
    .argument('<run>', 'run id')
    .argument('<step>', 'path of the step, or its id')
    .argument('<duration>', 'how much longer, such as 90m or 2h')
    .option('--json', 'print { runId, step, endsAt }')
    .addHelpText(
      'after',
      '\nExample:\n  $ adit extend frontier-round-20261121-101500-k3fq candidates#0/trained 2h',
    )
    .action(async (runId: string, step: string, duration: string, options: { json?: boolean }) => {
      const { extendProgram } = await import('../steer-programs.js');
      await extendProgram({ runId, step, duration }, options.json === true);
    });
}
