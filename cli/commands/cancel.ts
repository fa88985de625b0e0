import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { CliFailure } from '../failure.js';
import { print, printJson } from '../output.js';
import { addServerOptions } from '../session.js';
import { ownName } from '../own-name.js';

interface CancelOptions extends ServerFlags {
  readonly reason?: string;
  readonly abandon?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function registerCancel(program: Command): void {
  addServerOptions(program.command('cancel'))
    .description('Cancel a run: what is under way is ended, `finally` steps still run.')
    .argument('<run>', 'run id')
    .option('--reason <text>', 'why, for the record')
    .option(
      '--abandon',
      'no longer wait for hosts that are silent: programs of the run may go on there',
    )
    .option(
      '--force',
      'cancel what `finally` does as well: what it would give back, such as a claim, may be left',
    )
    .option('--json', 'print { runId, status, requested, abandoned, forced }')
    .addHelpText(
      'after',
      '\nExample:\n  $ adit cancel frontier-round-20261121-101500-k3fq --reason "wrong recipe"\n  $ adit cancel frontier-round-20261121-101500-k3fq --abandon\n  $ adit cancel frontier-round-20261121-101500-k3fq --force',
    )
    .action(async (runId: string, options: CancelOptions) => {
      const { openSession } = await import('../session.js');
      const { describeRun, toRunStatus } = await import('../run-record.js');
      const { unknownRun } = await import('../follow-run.js');
      const { abandonHosts, forceFinally, requestCancel } = await import('../request-cancel.js');
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
        const abandoned = options.abandon === true;
        if (abandoned) await abandonHosts(session, runId);
        const forced = options.force === true;
        if (forced) await forceFinally(session, runId);
        if (options.json === true) printJson({ runId, status, requested: true, abandoned, forced });
        else {
          print(`Cancellation of ${runId} is requested. Its end: ${ownName()} watch ${runId}`);
          if (abandoned) {
            print(
              `Hosts that are silent are not waited for: what runs there may go on until its limit. \`${ownName()} kill ${runId}\` on that machine ends it.`,
            );
          }
          if (forced) {
            print(
              `What \`finally\` does is cancelled too, and what it had not given back is left: a claim goes on until it expires. \`${ownName()} show ${runId}\` tells which steps of it did not end.`,
            );
          }
        }
      } finally {
        await session.close();
      }
    });
}
