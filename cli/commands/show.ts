import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { printJson } from '../output.js';
import { addServerOptions } from '../session.js';

export function registerShow(program: Command): void {
  addServerOptions(program.command('show'))
    .description(
      'Show one run: from the server, or from its evidence folder when the server is away or has forgotten it.',
    )
    .argument('<run>', 'run id')
    .option('--json', 'print the run as JSON, with its effects and the programs that run here')
    .addHelpText('after', '\nExample:\n  $ adit show frontier-round-20261121-101500-k3fq --json')
    .action(async (runId: string, options: ServerFlags & { json?: boolean }) => {
      const { readRunDetails, showRun } = await import('../show-run.js');
      const { toShowJson } = await import('../run-record.js');
      const { printRun } = await import('../print-run.js');
      const record = await showRun(options, runId);
      const details = await readRunDetails(record);
      if (options.json === true) {
        const { effectToJson } = await import('../effect-lines.js');
        const { programToJson } = await import('../program-words.js');
        printJson({
          ...toShowJson(record),
          effects: details.effects.map(effectToJson),
          programs: details.programs.map(programToJson),
        });
      } else printRun(record, details);
    });
}
