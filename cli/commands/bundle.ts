import type { Command } from 'commander';

export interface BundleCommandOptions {
  readonly out?: string;
  /** False: artifacts are named by their digests alone. */
  readonly artifacts: boolean;
  readonly json?: boolean;
}

export function registerBundle(program: Command): void {
  program
    .command('bundle')
    .description(
      "Write the bundle of a run that has ended as one file: plan, records, logs, measurements, patch, verdicts, effects, acceptance, proof. It is read from this machine's evidence.",
    )
    .argument('<run>', 'run id')
    .option('--out <file>', 'where to write it (RUN.tar in this folder when absent)')
    .option('--no-artifacts', 'name the artifacts by their digests, without their bytes')
    .option('--json', 'print what was written as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  $ adit bundle frontier-round-20261121-101500-k3fq --out round.tar',
    )
    .action(async (runId: string, options: BundleCommandOptions) => {
      const { writeBundle } = await import('../write-bundle.js');
      await writeBundle(runId, options);
    });
}
