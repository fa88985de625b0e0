import type { Command } from 'commander';

export function registerDevnet(program: Command): void {
  program
    .command('devnet')
    .description(
      'Run the local network in the foreground; its own options follow (`adit devnet --help`).',
    )
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments()
    .argument('[arguments...]', 'passed on as they are')
    .action(async (passed: string[]) => {
      const { runInForeground } = await import('../foreground.js');
      process.exitCode = await runInForeground('devnet/main.js', passed, process.env);
    });
}
