import type { Command } from 'commander';
import { printJson } from '../output.js';
import { addServerOptions } from '../session.js';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';

export function registerWatch(program: Command): void {
  addServerOptions(program.command('watch'))
    .description(
      'Follow a run that is under way; exits as `adit run` does. Ctrl-C leaves the run alone.',
    )
    .argument('<run>', 'run id')
    .option('--json', 'print the run as JSON when it has ended')
    .addHelpText('after', '\nExample:\n  $ adit watch frontier-round-20261121-101500-k3fq')
    .action(async (runId: string, options: ServerFlags & { json?: boolean }) => {
      const { openSession } = await import('../session.js');
      const { watchToEnd } = await import('../watch-to-end.js');
      const { describeRun, toShowJson } = await import('../run-record.js');
      const { unknownRun } = await import('../follow-run.js');
      const { exitCodeOf, printRunEnd } = await import('../print-run.js');
      const session = await openSession(options);
      if ((await describeRun(session, runId)) === null) throw unknownRun(runId, session);
      const record = await watchToEnd(session, runId, { json: options.json === true });
      if (options.json === true) printJson(toShowJson(record));
      else printRunEnd(record);
      await session.close();
      process.exitCode = exitCodeOf(record.view.status);
    });
}
