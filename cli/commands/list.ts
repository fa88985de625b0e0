import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { clean, note, print, printJson } from '../output.js';
import { addServerOptions } from '../session.js';

export function registerList(program: Command): void {
  addServerOptions(program.command('list'))
    .description(
      'List runs, the newest first: those of the server, and those that only the evidence folder has.',
    )
    .option('--limit <n>', 'most runs that are listed', toLimit, 50)
    .option('--json', 'print { runs: [...] }')
    .addHelpText('after', '\nExample:\n  $ adit list --limit 10')
    .action(async (options: ServerFlags & { limit: number; json?: boolean }) => {
      const { listRuns } = await import('../list-runs.js');
      const { runs, remark } = await listRuns(options, options.limit);
      if (options.json === true) {
        printJson({ runs });
        return;
      }
      const { table } = await import('../table.js');
      const { paintStatus } = await import('../print-run.js');
      const { timeLeftWords } = await import('../deadline-words.js');
      if (runs.length === 0) print('There are no runs yet.');
      else {
        print(
          table(
            runs.map((run) => [
              clean(run.runId),
              paintStatus(run.status),
              run.startedAt === null ? '' : run.startedAt.slice(0, 16).replace('T', ' '),
              clean(run.stage),
              run.deadline === null || run.status !== 'running'
                ? ''
                : `deadline: ${timeLeftWords(run.deadline, Date.now())}`,
              run.parked.length === 0
                ? ''
                : `waits for ${run.approvals.length === run.parked.length ? 'approval' : 'a decision'}: ${clean(run.parked.join(', '), 120)}`,
            ]),
          ),
        );
      }
      const parked = runs.find((run) => run.parked.length > 0);
      if (parked !== undefined) {
        const { ownName } = await import('../own-name.js');
        const [path = ''] = parked.parked;
        const command = parked.approvals.includes(path) ? 'approve' : 'decide';
        note(`See what is asked: ${ownName()} ${command} ${clean(parked.runId)}`);
      }
      if (remark !== null) note(remark);
    });
}

function toLimit(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 1000) return value;
  throw new InvalidArgumentError('It must be a whole number from 1 to 1000.');
}
