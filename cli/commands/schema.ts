import { Option, type Command } from 'commander';

const KINDS = ['pipeline', 'test', 'rehearse'] as const;
type Kind = (typeof KINDS)[number];

export function registerSchema(program: Command): void {
  program
    .command('schema')
    .description(
      'Print the JSON Schema of pipeline files, test files or rehearsal files, for editors.',
    )
    .addOption(
      new Option('--kind <kind>', 'of which files')
        .choices(KINDS)
        .default('pipeline' satisfies Kind),
    )
    .option('--json', 'the same: a schema is JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ adit schema > pipeline.schema.json\n  $ adit schema --kind test > test.schema.json',
    )
    .action(async ({ kind }: { readonly kind: Kind }) => {
      const { schemaOf } = await import('../schemas.js');
      const { printJson } = await import('../output.js');
      printJson(schemaOf(kind));
    });
}
