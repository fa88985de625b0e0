import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { CliFailure } from '../failure.js';
import { print, printJson } from '../output.js';
import { addServerOptions } from '../session.js';
import { ownName } from '../own-name.js';

export function registerCancel(program: Command): void {
  addServerOptions(program.command('cancel'))
    .description('Cancel a run: what is under way is ended, `finally` steps still run.')
    .argument('<run>', 'run id')
    .option('--reason <text>', 'why, for the record')
    .option('--json', 'print { runId, status, requested }')
    .addHelpText(
      'after',
      '\nExample:\n  $ adit cancel frontier-round-20261121-101500-k3fq --reason "wrong recipe"',
    )
    .action(async (runId: string, options: ServerFlags & { reason?: string; json?: boolean }) => {
      const { openSession } = await import('../session.js');
      const { describeRun, toRunStatus } = await import('../run-record.js');
      const { unknownRun } = await import('../follow-run.js');
      const { requestCancel } = await import('../request-cancel.js');
      const session = await openSession(options);
      try {
        const description = await describeRun(session, runId);
        if (description === null) throw unknownRun(runId, session);
        const status = toRunStatus(description.status.name);
        if (status !== 'running') {
          throw new CliFailure('RUN_ENDED', `The run "${runId}" has already ended.`, {
            hint: `See it with: ${ownName()} show ${runId}`,
          });
        }
        await requestCancel(session, runId, options.reason ?? '');
        if (options.json === true) printJson({ runId, status, requested: true });
        else print(`Cancellation of ${runId} is requested. Its end: ${ownName()} watch ${runId}`);
      } finally {
        await session.close();
      }
    });
}
