import type { Command } from 'commander';

export function registerCheck(program: Command): void {
  program
    .command('check')
    .description('Find every mistake in pipeline files, before they run.')
    .argument('<file...>', 'pipeline files; `-` reads standard input')
    .option('--deny-warnings', 'count warnings as mistakes: exit with 2')
    .option('--json', 'print { ok, diagnostics: [...] }')
    .addHelpText('after', '\nExample:\n  $ adit check pipelines/*.yaml')
    .action(async (files: string[], options: { json?: boolean; denyWarnings?: boolean }) => {
      const { checkFiles } = await import('../check-files.js');
      process.exitCode = await checkFiles(files, {
        json: options.json === true,
        denyWarnings: options.denyWarnings === true,
      });
    });
}
