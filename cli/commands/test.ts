import type { Command } from 'commander';

export interface TestOptions {
  readonly filter?: string;
  readonly watch?: boolean;
  readonly junit?: string;
  readonly json?: boolean;
}

export function registerTest(program: Command): void {
  program
    .command('test')
    .description('Run the tests of pipelines, without a server and in simulated time.')
    .argument('<file...>', 'test files, `*.test.yaml`')
    .option('--filter <text>', 'run only the tests whose name has this text in it')
    .option(
      '--watch',
      'run again whenever a test file, its pipeline or a file that it calls changes',
    )
    .option('--junit <file>', 'write the results as JUnit XML too')
    .option('--json', 'print { ok, passed, failed, files: [{ file, diagnostics, tests }] }')
    .addHelpText(
      'after',
      '\nExamples:\n  $ adit test pipelines/*.test.yaml\n  $ adit test pipelines/frontier-round.test.yaml --filter claim --watch',
    )
    .action(async (files: string[], options: TestOptions) => {
      const { testFiles } = await import('../test-files.js');
      process.exitCode = await testFiles(files, options);
    });
}
