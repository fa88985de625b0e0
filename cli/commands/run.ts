import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export interface RunOptions extends ServerFlags {
  readonly input: readonly string[];
  readonly inputsFile?: string;
  readonly until?: string;
  readonly deadline?: string;
  readonly detach?: boolean;
  readonly json?: boolean;
}

export function registerRun(program: Command): void {
  addServerOptions(program.command('run'))
    .description(
      'Check a pipeline, bind its inputs, start a run and show its progress until it has ended.',
    )
    .argument('<file>', 'pipeline file')
    .option(
      '--input <name=value>',
      'an input; `name=@FILE` reads it from a file; may be repeated',
      collect,
      [],
    )
    .option('--inputs-file <file>', 'YAML or JSON map of inputs; --input goes before it')
    .option(
      '--until <step>',
      'end the run as stopped after this step (its path or id) has succeeded',
    )
    .option(
      '--deadline <time>',
      'when the run ends at the latest: a duration from now (8h) or a time (2026-11-22T06:00:00Z)',
    )
    .option('--detach', 'print the ids and leave')
    .option(
      '--json',
      'print the run as JSON when it has ended (with --detach: { runId, roundId, evidence })',
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ adit run pipelines/frontier-round.yaml --input task=SLUG --input recipes=@recipes.yaml --inputs-file common.yaml\n  $ adit run pipelines/frontier-round.yaml --inputs-file inputs.yaml --until verdict --deadline 8h',
    )
    .action(async (file: string, options: RunOptions) => {
      const { runPipelineFile } = await import('../run-pipeline-file.js');
      process.exitCode = await runPipelineFile(file, options);
    });
}

function collect(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value];
}
