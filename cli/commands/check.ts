import type { Command } from 'commander';

export function registerCheck(program: Command): void {
  program
    .command('check')
    .description('Find every mistake in pipeline files, before they run.')
    .argument('<file...>', 'pipeline files; `-` reads standard input')
    .option('--json', 'print { ok, diagnostics: [...] }')
    .addHelpText('after', '\nExample:\n  $ adit check pipelines/*.yaml')
    .action(async (files: string[], options: { json?: boolean }) => {
      const { checkFiles } = await import('../check-files.js');
      process.exitCode = await checkFiles(files, { json: options.json === true });
    });
}
