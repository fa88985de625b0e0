/** The command line of `adit devnet`. */
import path from 'node:path';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { DevnetError, defaultHome, readRunning } from './home.js';
import { startDevnet, type Devnet, type DevnetAddresses } from './network.js';

const MOST_ARTIFACT_BYTES = 256 * 1024 * 1024;

const EXAMPLE = `
Example:
  $ adit devnet --port 8094 --home ./network --json
  $ adit devnet advance 2701 --home ./network     every claim made before is expired
`;

export interface DevnetOutput {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

interface StartOptions {
  port?: number;
  home?: string;
  json?: boolean;
  validator: boolean;
  allowValidator: string[];
  claimLifetime?: number;
  recipient?: string;
  validatorInterval?: number;
  journal?: string;
}

/**
 * Runs one command line. The exit code, or the running devnet, which the caller closes.
 * 0 done · 1 failed · 2 wrong usage.
 */
export async function runDevnetCommand(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  { out, err }: DevnetOutput,
): Promise<number | Devnet> {
  const json = argv.includes('--json');
  let result: number | Devnet = 0;
  const program = new Command('adit devnet')
    .description(
      'Runs a local network: coordinator, validator, Pool, artifact host and task repository.',
    )
    .option(
      '--port <port>',
      'port of the coordinator; 0: that of the last start, or any',
      toWhole(0, 65_535),
    )
    .option('--home <folder>', 'folder of its state (default: devnet in Adit’s state folder)')
    .option('--json', 'print one line of JSON when it is ready')
    .option('--no-validator', 'leave validator jobs to others')
    .option(
      '--allow-validator <ss58>',
      'a further hotkey that may validate; may be repeated',
      collect,
      [],
    )
    .option(
      '--validator-interval <seconds>',
      'how often the validator looks for work',
      toWhole(1, 3_600),
    )
    .option(
      '--claim-lifetime <seconds>',
      'how long a claim lives (at first 2700)',
      toWhole(1, 86_400),
    )
    .option('--journal <file>', 'append a line of JSON for every request and every fault')
    .option('--recipient <ss58>', 'coldkey address that the miner’s rewards are published for')
    .addHelpText('after', EXAMPLE)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut: out, writeErr: json ? () => undefined : err })
    .action(async (options: StartOptions) => {
      result = await start(options, env, { out, err });
    });
  program
    .command('advance')
    .description('Moves the clock of a running devnet forward.')
    .argument('<seconds>', 'by how much', toWhole(1, 10 * 365 * 86_400))
    .option('--home <folder>', 'folder of the devnet')
    .option('--json', 'print the new time as JSON')
    .addHelpText('after', '\nExample:\n  $ adit devnet advance 3600 --home ./network\n')
    .action(async (seconds: number, _options: unknown, command: Command) => {
      await advance(
        seconds,
        command.optsWithGlobals<{ home?: string; json?: boolean }>(),
        env,
        out,
      );
    });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return result;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      if (json) out(`${JSON.stringify({ error: usageError(error.message) })}\n`);
      return 2;
    }
    if (!(error instanceof DevnetError)) throw error;
    if (json)
      out(
        `${JSON.stringify({ error: { code: error.code, message: error.message, hint: error.hint } })}\n`,
      );
    else err(`${error.message}\n${error.hint}\n`);
    return error.code === 'DEVNET_ADDRESS_INVALID' ? 2 : 1;
  }
}

async function start(
  options: StartOptions,
  env: NodeJS.ProcessEnv,
  { out, err }: DevnetOutput,
): Promise<Devnet> {
  const devnet = await startDevnet({
    home: homeOf(options.home, env),
    port: options.port ?? 0,
    withValidator: options.validator,
    validatorIntervalSeconds: options.validatorInterval ?? null,
    allowValidators: options.allowValidator,
    claimLifetimeSeconds: options.claimLifetime ?? null,
    recipient: options.recipient ?? null,
    journalFile: options.journal === undefined ? null : path.resolve(options.journal),
    mostArtifactBytes: MOST_ARTIFACT_BYTES,
    report: (line) => {
      err(`devnet: ${line}\n`);
    },
  });
  out(options.json === true ? `${JSON.stringify(devnet.addresses)}\n` : summary(devnet.addresses));
  return devnet;
}

async function advance(
  seconds: number,
  options: { home?: string; json?: boolean },
  env: NodeJS.ProcessEnv,
  out: (text: string) => void,
): Promise<void> {
  const home = homeOf(options.home, env);
  const running = await readRunning(home);
  if (running === null) throw notRunning(home);
  let response: Response;
  try {
    response = await fetch(`${running.coordinator}/devnet/clock/advance`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-admin-token': running.adminToken },
      body: JSON.stringify({ seconds }),
    });
  } catch (error) {
    throw notRunning(home, { cause: error });
  }
  const text = await response.text();
  if (!response.ok) {
    throw new DevnetError(
      'DEVNET_REFUSED',
      `The devnet on ${home} answered ${response.status}: ${text.slice(0, 200)}`,
      'Is another program listening on its port?',
    );
  }
  const status = JSON.parse(text) as { now: string; clockOffsetSeconds: number };
  out(
    options.json === true
      ? `${JSON.stringify({ now: status.now, clockOffsetSeconds: status.clockOffsetSeconds })}\n`
      : `The devnet's clock is at ${status.now}, ${status.clockOffsetSeconds} s ahead.\n`,
  );
}

function notRunning(home: string, options?: ErrorOptions): DevnetError {
  return new DevnetError(
    'DEVNET_NOT_RUNNING',
    `No devnet is running on ${home}.`,
    'Start one with `adit devnet`, or name its folder with --home.',
    options,
  );
}

function usageError(message: string): { code: string; message: string; hint: string } {
  return {
    code: 'USAGE',
    message: message.replace(/^error: /, ''),
    hint: 'See `adit devnet --help`.',
  };
}

function homeOf(given: string | undefined, env: NodeJS.ProcessEnv): string {
  return given === undefined ? defaultHome(env) : path.resolve(given);
}

function collect(value: string, earlier: string[]): string[] {
  return [...earlier, value];
}

function toWhole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

function summary(addresses: DevnetAddresses): string {
  const pid = addresses.validatorPid;
  return [
    'The devnet is ready.',
    `  coordinator   ${addresses.coordinator}`,
    `  pool          ${addresses.pool}`,
    `  artifacts     ${addresses.artifacts}`,
    `  repository    ${addresses.repository}`,
    `  tasks         ${addresses.tasks.join(', ')}`,
    `  validator     ${pid === null ? 'none: jobs are left to others' : `process ${pid}`}`,
    `  miner hotkey  ${addresses.hotkeys.miner}`,
    `  recipient     ${addresses.recipient}`,
    'Ctrl-C stops it; its state stays.',
    '',
  ].join('\n');
}
