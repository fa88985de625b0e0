import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export function registerHold(program: Command): void {
  addServerOptions(program.command('hold'))
    .description(
      'Hold all effects of the workers of this state folder: nothing is claimed, submitted, cancelled or published. Everything else goes on.',
    )
    .option('--reason <text>', 'why, for those who come after')
    .option('--by <name>', 'who holds (default: user and machine)')
    .option('--json', 'print { stateDir, hold: { by, reason, since } }')
    .addHelpText('after', '\nExample:\n  $ adit hold --reason "the coordinator misbehaves"')
    .action(async (options: ServerFlags & { reason?: string; by?: string; json?: boolean }) => {
      const { holdEffects } = await import('../effect-hold.js');
      await holdEffects(options);
    });
}
