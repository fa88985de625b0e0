import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export function registerGraph(program: Command): void {
  addServerOptions(program.command('graph'))
    .description('Draw a pipeline, or a run with the states of its steps, as a Mermaid flowchart.')
    .argument('<target>', 'pipeline file, or run id')
    .option('--json', 'print { pipeline, run, mermaid }')
    .addHelpText(
      'after',
      '\nExamples:\n  $ adit graph pipelines/frontier-round.yaml > round.mmd\n  $ adit graph frontier-round-20261121-101500-k3fq',
    )
    .action(async (target: string, options: ServerFlags & { json?: boolean }) => {
      const { showGraph } = await import('../show-graph.js');
      await showGraph(target, options);
    });
}
