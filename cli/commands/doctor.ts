import type { Command } from 'commander';
import type { ServerFlags } from '../../adapters/temporal-server/choose-server.js';
import { EXIT } from '../failure.js';
import { clean, paint, print, printJson } from '../output.js';
import { addServerOptions } from '../session.js';

export function registerDoctor(program: Command): void {
  addServerOptions(program.command('doctor'))
    .description(
      'Check all that a run needs on this machine, each with its way out. Exits 1 when something needed is missing.',
    )
    .option('--json', 'print { ok, checks: [{ name, level, found, wayOut }] }')
    .addHelpText('after', '\nExample:\n  $ adit doctor')
    .action(async (options: ServerFlags & { json?: boolean }) => {
      const { examine } = await import('../examine.js');
      const checks = await examine(options);
      const ok = checks.every(({ level }) => level !== 'missing');
      if (options.json === true) printJson({ ok, checks });
      else {
        const marks = { ok: paint.green('✓'), note: paint.yellow('!'), missing: paint.red('✗') };
        for (const { name, level, found, wayOut } of checks) {
          print(`${marks[level]} ${paint.bold(name.padEnd(16))} ${clean(found, 400)}`);
          if (wayOut !== '') print(`  ${' '.repeat(16)} ${paint.dim(clean(wayOut, 400))}`);
        }
      }
      process.exitCode = ok ? EXIT.done : EXIT.failed;
    });
}
