import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export interface ApproveOptions extends ServerFlags {
  readonly approve?: boolean;
  readonly reject?: boolean;
  readonly field: readonly string[];
  readonly digest?: string;
  readonly file?: string;
  readonly reason?: string;
  readonly by?: string;
  readonly id?: string;
  readonly json?: boolean;
}

export function registerApprove(program: Command): void {
  addServerOptions(program.command('approve'))
    .description(
      'Approve or reject what a run shows. Without an answer it shows all of it; without a step it lists what waits.',
    )
    .argument('[run]', 'run id')
    .argument('[step]', 'path of the step, or its id')
    .option('--approve', 'approve what is shown')
    .option('--reject', 'reject it: the run stops, its `finally` steps still run')
    .option(
      '--field <name=value>',
      'a field of the answer, repeatable',
      (value: string, earlier: readonly string[]) => [...earlier, value],
      [],
    )
    .option('--digest <sha256>', 'what you looked at: the answer counts for that and nothing else')
    .option('--file <name>', 'print one of the files that are shown, whole')
    .option('--reason <text>', 'why, for the record')
    .option('--by <name>', 'who answers, by your own word (default: user and machine)')
    .option('--id <id>', 'id of the answer: the same id counts once, so a command may be repeated')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ adit approve\n  $ adit approve frontier-round-20261121-101500-k3fq approval\n  $ adit approve frontier-round-20261121-101500-k3fq approval --approve --field lane=fast --digest 4b1f…',
    )
    .action(
      async (runId: string | undefined, step: string | undefined, options: ApproveOptions) => {
        const { readGivenAnswer } = await import('../read-approval.js');
        const answer = readGivenAnswer(options, step !== undefined);
        if (runId === undefined || step === undefined) {
          const { listApprovals } = await import('../list-approvals.js');
          await listApprovals(options, runId);
          return;
        }
        const { answerApproval, printShownFile, showApproval } = await import('../approve-step.js');
        if (answer !== null) await answerApproval(options, { runId, step, answer });
        else if (options.file !== undefined) await printShownFile(options, runId, step);
        else await showApproval(options, runId, step);
      },
    );
}
