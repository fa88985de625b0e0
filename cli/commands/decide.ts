import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export interface DecideOptions extends ServerFlags {
  readonly retry?: boolean;
  readonly value?: string;
  readonly fail?: boolean;
  readonly reason?: string;
  readonly by?: string;
  readonly id?: string;
  readonly json?: boolean;
}

export function registerDecide(program: Command): void {
  addServerOptions(program.command('decide'))
    .description(
      'Decide for a step that waits for a person. Without an answer it shows what is asked; without a step it lists what waits.',
    )
    .argument('[run]', 'run id')
    .argument('[step]', 'path of the step, or its id')
    .option('--retry', 'try the step again')
    .option(
      '--value <file-or-json>',
      "take this value as the step's outputs: JSON, or a file of JSON or YAML",
    )
    .option('--fail', 'let the step fail with its error')
    .option('--reason <text>', 'why, for the record')
    .option('--by <name>', 'who decides (default: user and machine)')
    .option(
      '--id <id>',
      'id of the decision: the same id counts once, so a command may be repeated',
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ adit decide\n  $ adit decide frontier-round-20261121-101500-k3fq submission/submit\n  $ adit decide frontier-round-20261121-101500-k3fq submission/submit --retry --reason "the coordinator is back"',
    )
    .action(async (runId: string | undefined, step: string | undefined, options: DecideOptions) => {
      const { decideStep, listParked, showParked } = await import('../decide-step.js');
      const { readAnswer } = await import('../read-decision.js');
      const answer = readAnswer(options, step !== undefined);
      if (runId === undefined || step === undefined) await listParked(options, runId);
      else if (answer === null) await showParked(options, runId, step);
      else await decideStep(options, { runId, step, answer });
    });
}
