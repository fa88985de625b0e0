import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export interface PlanOptions extends ServerFlags {
  readonly input: readonly string[];
  readonly inputsFile?: string;
  readonly until?: string;
  readonly retry?: string;
  readonly from?: string;
  readonly json?: boolean;
}

export function registerPlan(program: Command): void {
  addServerOptions(program.command('plan'))
    .description(
      'Show what a run would do: every step in its order, with what is known already, its queue and limits, and how long it took before. Nothing is started, sent or written.',
    )
    .argument(
      '[file]',
      'pipeline file; with --retry it is only compared with what the run was started with',
    )
    .option(
      '--input <name=value>',
      'an input; `name=@FILE` reads it from a file; may be repeated',
      collect,
      [],
    )
    .option('--inputs-file <file>', 'YAML or JSON map of inputs; --input goes before it')
    .option('--until <step>', 'as `adit run --until`')
    .option('--retry <run>', 'show what `adit retry RUN` would reuse and run, and why')
    .option('--from <step>', 'with --retry: as `adit retry --from`')
    .option('--json', 'print the plan as JSON (docs/plan.md)')
    .addHelpText(
      'after',
      '\nExample:\n  $ adit plan pipelines/frontier-round.yaml --inputs-file inputs.yaml\n  $ adit plan --retry frontier-round-20261121-101500-k3fq --from verdict',
    )
    .action(async (file: string | undefined, options: PlanOptions) => {
      const { planRun } = await import('../plan/plan-run.js');
      await planRun(file, options);
    });
}

function collect(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value];
}
