import type { Command } from 'commander';
import { CliFailure, EXIT } from '../failure.js';
import { printJson } from '../output.js';

export function registerVerify(program: Command): void {
  program
    .command('verify')
    .description(
      'Check a bundle offline: every byte, the patch, the measurements, the gate, what was submitted, the Merkle proof. No server and no settings are needed.',
    )
    .argument('<bundle>', 'the file that `adit bundle` wrote')
    .option('--root <hex>', "the bundle's root as the run's result says it: 64 hex digits")
    .option('--json', 'print what was found as JSON')
    .addHelpText('after', '\nExample:\n  $ adit verify round.tar --root 3f5c…')
    .action(async (file: string, options: { root?: string; json?: boolean }) => {
      const root = options.root?.replace(/^0x/i, '').toLowerCase() ?? null;
      if (root !== null && !/^[0-9a-f]{64}$/.test(root)) {
        throw new CliFailure('USAGE', `--root is "${options.root}", not 64 hex digits.`, {
          hint: '`adit show RUN` prints it as `bundle`.',
          exitCode: EXIT.usage,
        });
      }
      const { verifyBundle } = await import('../verify/verify-bundle.js');
      const { printVerified } = await import('../verify/print-verified.js');
      const searchPath = process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin';
      const verified = await verifyBundle(file, { root, searchPath });
      if (options.json === true) printJson({ bundle: file, ...verified });
      else printVerified(verified);
      const isGood = verified.verdict === 'authentic' || verified.verdict === 'consistent';
      process.exitCode = isGood ? EXIT.done : EXIT.failed;
    });
}
