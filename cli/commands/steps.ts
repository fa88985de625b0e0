import type { Command } from 'commander';

export function registerSteps(program: Command): void {
  program
    .command('steps')
    .description('The reference of step types: all of them, or one in full.')
    .argument('[type]', 'name of a step type')
    .option('--json', 'print { steps: [...] }')
    .addHelpText('after', '\nExample:\n  $ adit steps candidate.train')
    .action(async (type: string | undefined, options: { json?: boolean }) => {
      const { printSteps } = await import('../print-steps.js');
      printSteps(type, { json: options.json === true });
    });
}
