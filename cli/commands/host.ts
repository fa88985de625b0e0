import { InvalidArgumentError, Option, type Command } from 'commander';

interface HostFlags {
  readonly idleExit?: number;
  readonly containment?: string;
  readonly gpus?: string;
  readonly json?: boolean;
}

export function registerHost(program: Command): void {
  program
    .command('host')
    .description(
      'Run the process host of this machine in the foreground: it starts, watches and ends the programs of steps. Its programs go on when it ends.',
    )
    .option(
      '--idle-exit <seconds>',
      'end after so long without a connection and a program',
      toSeconds,
    )
    .addOption(
      new Option(
        '--containment <level>',
        'force a weaker way to hold a program together than this machine offers',
      ).choices(['cgroup', 'pidNamespace', 'processGroup']),
    )
    .option(
      '--gpus <ids>',
      'devices, as CUDA_VISIBLE_DEVICES names them: `0,1`, or `none` (default: ADIT_GPUS, else nvidia-smi)',
    )
    .option('--json', 'print the ready line as JSON, also at a terminal')
    .addHelpText('after', '\nExample:\n  $ adit host\n  $ adit host --gpus none --json')
    .action(async (options: HostFlags) => {
      const { runHost } = await import('../run-host.js');
      process.exitCode = await runHost(options);
    });
}

function toSeconds(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number of seconds above 0.');
}
