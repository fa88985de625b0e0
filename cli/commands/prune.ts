import { InvalidArgumentError, type Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { parseDuration } from '../../core/duration.js';
import { addServerOptions } from '../session.js';

export interface PruneOptions extends ServerFlags {
  readonly olderThan: number;
  readonly dryRun?: boolean;
  readonly evidence?: boolean;
  readonly json?: boolean;
}

const WEEK_MS = 7 * 24 * 3_600_000;

export function registerPrune(program: Command): void {
  addServerOptions(program.command('prune'))
    .description(
      'Remove what rounds that have ended left in the state folder: run directories of programs, checkpoints, workspaces. Evidence and store stay. `adit retry` can then reuse nothing of them.',
    )
    .option(
      '--older-than <duration>',
      'only rounds that ended so long ago (default: 7d)',
      toAge,
      WEEK_MS,
    )
    .option('--dry-run', 'only say what would be removed')
    .option('--evidence', 'remove the evidence too: plan, steps, outcome and settled effects')
    .option('--json', 'print { stateDir, dryRun, freedBytes, removed: [...], kept: [...] }')
    .addHelpText('after', '\nExample:\n  $ adit prune --older-than 3d --dry-run')
    .action(async (options: PruneOptions) => {
      const { prune } = await import('../prune.js');
      await prune(options);
    });
}

function toAge(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null) return ms;
  throw new InvalidArgumentError('It must be a duration such as 12h or 7d.');
}
