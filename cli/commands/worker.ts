import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { addServerOptions } from '../session.js';

export function registerWorker(program: Command): void {
  addServerOptions(program.command('worker'))
    .description(
      'Run a worker in the foreground. It prints one line of JSON when it polls; Ctrl-C or TERM drains it.',
    )
    .option('--json', 'accepted for symmetry: the ready line is always JSON')
    .addHelpText('after', '\nExample:\n  $ TEMPORAL_ADDRESS=127.0.0.1:7233 adit worker')
    .action(async (options: ServerFlags) => {
      const { chooseServer, serverVariables } =
        await import('../../adapters/temporal-server/choose-server.js');
      const { connectTo } = await import('../../adapters/temporal-server/connect.js');
      const { readSettings } = await import('../session.js');
      const { childEnvironment } = await import('../local-services.js');
      const { runInForeground } = await import('../foreground.js');
      const { stateDir } = await readSettings();
      const server = chooseServer({ flags: options, env: process.env, stateDir });
      // Asked here, so that a server that is away is exit code 5 with a way out.
      await (await connectTo(server)).close();
      const env =
        server.services === undefined
          ? process.env
          : childEnvironment(process.env, server.services.variables);
      process.exitCode = await runInForeground(
        'worker/main.js',
        [],
        serverVariables(server, env, options.profile),
      );
    });
}
