import type { Command } from 'commander';

export function registerFmt(program: Command): void {
  program
    .command('fmt')
    .description('Format pipeline files and test files in place; comments and meaning stay.')
    .argument('<file...>', 'YAML files; `-` reads standard input and writes standard output')
    .option('--check', 'change nothing, and exit with 1 when a file is not formatted')
    .option('--json', 'print { ok, files: [{ file, changed, diagnostics, refused }] }')
    .addHelpText(
      'after',
      '\nExamples:\n  $ adit fmt pipelines/*.yaml\n  $ adit fmt --check pipelines/*.yaml',
    )
    .action(async (files: string[], options: { check?: boolean; json?: boolean }) => {
      const { formatFiles } = await import('../format-files.js');
      process.exitCode = await formatFiles(files, {
        check: options.check === true,
        json: options.json === true,
      });
    });
}
