import type { Command } from 'commander';

export function registerSchema(program: Command): void {
  program
    .command('schema')
    .description('Print the JSON Schema of pipeline files, for editors.')
    .option('--json', 'the same: a schema is JSON')
    .addHelpText('after', '\nExample:\n  $ adit schema > pipeline.schema.json')
    .action(async () => {
      const { pipelineSchema } = await import('../../compiler/json-schema.js');
      const { STEP_TYPES } = await import('../../activities/registry.js');
      const { printJson } = await import('../output.js');
      printJson(pipelineSchema(STEP_TYPES));
    });
}
