import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export function registerRelease(program: Command): void {
  addServerOptions(program.command('release'))
    .description('Let go of the effects that `adit hold` holds.')
    .option('--json', 'print { stateDir, released }')
    .addHelpText('after', '\nExample:\n  $ adit release')
    .action(async (options: ServerFlags & { json?: boolean }) => {
      const { releaseEffects } = await import('../effect-hold.js');
      await releaseEffects(options, options.json === true);
    });
}
