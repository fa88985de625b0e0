import type { Command } from 'commander';

/** Temporal's own usual ports; taken when they are free. */
const PORTS = { server: 7233, ui: 8233 };

export function registerDev(program: Command): void {
  program
    .command('dev')
    .description(
      'Keep an embedded Temporal server, a local network and a worker running. Their data survives a restart; what dies is started again; Ctrl-C ends all.',
    )
    .option('--json', 'print one line of JSON when all are ready')
    .addHelpText(
      'after',
      '\nExample:\n  $ adit dev\n  $ adit run pipelines/frontier-round.yaml --inputs-file inputs.yaml     (in another terminal)',
    )
    .action(async (options: { json?: boolean }) => {
      const { keepServices } = await import('../keep-services.js');
      const { readSettings } = await import('../session.js');
      await keepServices(await readSettings(), PORTS, options.json === true);
    });
}
