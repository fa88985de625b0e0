/** What `adit doctor` looks at: each check says what it found and, where that is not well, the way out. */
import { existsSync } from 'node:fs';
import { mkdir, statfs } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { STANDARD_PATH } from '../adapters/processes/processes.js';
import type { Settings } from '../adapters/settings/settings.js';
import { chooseServer, type ServerFlags } from '../adapters/temporal-server/choose-server.js';
import { connectTo } from '../adapters/temporal-server/connect.js';
import { lookForTemporal } from '../adapters/temporal-server/find-binary.js';
import { measureServer } from '../adapters/temporal-server/measure-server.js';
import { TemporalServerError } from '../adapters/temporal-server/server-error.js';
import { freePort } from '../adapters/temporal-server/start-server.js';
import { StepError } from '../core/error.js';
import { missing, note, ok, type Check } from './checks.js';
import { examineHost } from './examine-host.js';
import { findPackage } from '../adapters/package/find-package.js';
import { readSettings } from './session.js';

/** Oldest git whose `worktree` and `-c` options Adit relies on. */
const OLDEST_GIT = [2, 31] as const;
/** Oldest Python that the task repositories name. */
const OLDEST_PYTHON = [3, 10] as const;
const ROOM_FOR_A_ROUND_BYTES = 5e9;

/** All checks, in the order in which they are shown. Only settings that cannot be read throw (SettingsError). */
export async function examine(flags: ServerFlags): Promise<Check[]> {
  const settings = await readSettings();
  return [
    await examineBuild(),
    await examineServer(flags, settings),
    await examineEmbeddedServer(settings),
    await examineProgram('git', ['--version'], OLDEST_GIT, 'Install git.'),
    await examineProgram(
      'python3',
      ['--version'],
      OLDEST_PYTHON,
      'Install Python 3; task repositories train and measure with it, and steps look for programs there only.',
      STANDARD_PATH,
    ),
    await examineDisk(settings),
    ...(await examineHost(settings)),
    await examineHotkey(settings),
    ...examineSettings(settings),
    examineHooks(settings),
    await examinePorts(),
    await examineGpu(),
    await examineSandbox(),
  ];
}

async function examineBuild(): Promise<Check> {
  const { root, version } = findPackage();
  const parts = [
    'dist/worker/main.js',
    'dist/host/main.js',
    'dist/devnet/main.js',
    'dist/workflow-bundle.js',
  ];
  const lacking = parts.filter((part) => !existsSync(path.join(root, part)));
  if (lacking.length === 0) return ok('adit', `${version}, Node ${process.versions.node}, built`);
  return missing('adit', `${version}: ${lacking.join(', ')} not there`, 'Run `npm run build`.');
}

async function examineServer(flags: ServerFlags, settings: Settings): Promise<Check> {
  const name = 'temporal server';
  try {
    const server = chooseServer({ flags, env: process.env, stateDir: settings.stateDir });
    const connection = await connectTo(server);
    try {
      const place = `${server.address}, namespace ${server.namespace}, ${server.origin}`;
      if (server.services?.temporal.tuned === true) return ok(name, `${place}: answers, tuned`);
      const { timerMs, stepMs, slowTimers, throttledSteps } = await measureServer(
        connection,
        server.namespace,
      );
      const measured = `a step ${Math.round(stepMs)} ms, a timer of 100 ms ${Math.round(timerMs)} ms`;
      if (!slowTimers && !throttledSteps)
        return ok(name, `${place}: answers, not throttled (${measured})`);
      return note(
        name,
        `${place}: answers, but is throttled (${measured})`,
        'Set history.transferProcessorMaxPollRPS to 1000 and history.timerProcessorMaxTimeShift to "10ms" in its dynamic configuration (docker-compose.yml shows how).',
      );
    } finally {
      await connection.close();
    }
  } catch (error) {
    if (error instanceof TemporalServerError) return missing(name, error.message, error.hint);
    return missing(
      name,
      `it could not be measured: ${messageOf(error)}`,
      'Is the server overloaded, or does it forbid starting workflows?',
    );
  }
}

async function examineEmbeddedServer(settings: Settings): Promise<Check> {
  const name = 'embedded server';
  try {
    const found = await lookForTemporal({ env: process.env, cacheDir: settings.cacheDir });
    if (found !== null) return ok(name, `${found.version} (${found.source}: ${found.path})`);
  } catch (error) {
    return note(name, messageOf(error), error instanceof TemporalServerError ? error.hint : '');
  }
  const go = await execa('go', ['version'], { reject: false, stdin: 'ignore' });
  return note(
    name,
    'no program for it yet; only `adit demo` and `adit dev` need one',
    go.failed
      ? 'They will download it; without a network install the Temporal CLI, or Go to build it.'
      : 'They will download it, or build it with Go (about 3 minutes, once).',
  );
}

async function examineProgram(
  program: string,
  args: string[],
  oldest: readonly [number, number],
  wayOut: string,
  onlyOn?: string,
): Promise<Check> {
  const { failed, stdout, stderr } = await execa(program, args, {
    ...(onlyOn === undefined ? {} : { env: { PATH: onlyOn } }),
    reject: false,
    stdin: 'ignore',
    timeout: 10_000,
  });
  if (failed) return missing(program, `not found on ${onlyOn ?? 'PATH'}`, wayOut);
  const version = /(\d+)\.(\d+)(?:\.\d+)?/.exec(`${stdout} ${stderr}`);
  const [major, minor] = [Number(version?.[1]), Number(version?.[2])];
  const [needMajor, needMinor] = oldest;
  if (version === null || major < needMajor || (major === needMajor && minor < needMinor)) {
    return missing(
      program,
      `version ${version?.[0] ?? 'unknown'}; ${oldest.join('.')} or newer is needed`,
      wayOut,
    );
  }
  return ok(program, version[0]);
}

async function examineDisk(settings: Settings): Promise<Check> {
  await mkdir(settings.stateDir, { recursive: true });
  const { bavail, bsize } = await statfs(settings.stateDir);
  const free = bavail * bsize;
  const found = `${(free / 1e9).toFixed(1)} GB free at ${settings.stateDir}`;
  if (free < settings.minFreeBytes) {
    return missing(
      'disk',
      found,
      'Free some space, or point ADIT_STATE_DIR at a larger disk; steps refuse to start.',
    );
  }
  if (free < ROOM_FOR_A_ROUND_BYTES)
    return note(
      'disk',
      found,
      'Model checkpoints are large; ADIT_STATE_DIR may lie on another disk.',
    );
  return ok('disk', found);
}

async function examineHotkey(settings: Settings): Promise<Check> {
  const name = 'hotkey';
  if (settings.hotkeyFile === null) {
    return note(
      name,
      'none is set; `adit demo` and `adit dev` bring their own',
      'Set ADIT_HOTKEY_FILE for a real network.',
    );
  }
  try {
    const { createWallet } = await import('../adapters/wallet/wallet.js');
    return ok(name, `${await createWallet(settings).address()} (${settings.hotkeyFile})`);
  } catch (error) {
    return missing(name, messageOf(error), error instanceof StepError ? (error.hint ?? '') : '');
  }
}

function examineSettings(settings: Settings): Check[] {
  const wanted = [
    ['coordinator', settings.coordinatorUrl, 'ADIT_COORDINATOR_URL'],
    ['pool', settings.poolUrl, 'ADIT_POOL_URL'],
    ['recipient', settings.recipient, 'ADIT_RECIPIENT'],
    ['publish target', settings.publishUrl, 'ADIT_PUBLISH_URL'],
  ] as const;
  return wanted.map(([name, value, variable]) =>
    value === null
      ? note(
          name,
          'not set; `adit demo` and `adit dev` bring their own',
          `Set ${variable} for a real network.`,
        )
      : ok(name, value),
  );
}

/** Never an address: it may hold a token. */
function examineHooks(settings: Settings): Check {
  const { notifyUrl, notifySecretFile, notifyCommand, notifyEvents } = settings;
  const hooks = [
    ...(notifyUrl === null ? [] : [`a webhook${notifySecretFile === null ? ', unsigned' : ''}`]),
    ...(notifyCommand === null ? [] : [`the command ${notifyCommand[0]}`]),
  ];
  if (hooks.length === 0) {
    return note(
      'hooks',
      'none is set: nobody is told when a run waits for a person, or has ended',
      'Set ADIT_NOTIFY_URL or ADIT_NOTIFY_COMMAND; docs/notifications.md has more.',
    );
  }
  return ok('hooks', `${hooks.join(' and ')}: ${notifyEvents?.join(', ') ?? 'all events'}`);
}

async function examinePorts(): Promise<Check> {
  const usual = [7233, 8233];
  const taken: number[] = [];
  for (const port of usual) {
    if ((await freePort(port)) !== port) taken.push(port);
  }
  if (taken.length === 0) return ok('ports', `${usual.join(' and ')} are free for \`adit dev\``);
  return note(
    'ports',
    `${taken.join(' and ')} in use`,
    '`adit dev` and `adit demo` take other free ports and print them.',
  );
}

async function examineGpu(): Promise<Check> {
  const asked = await execa(
    'nvidia-smi',
    ['--query-gpu=name,memory.total', '--format=csv,noheader'],
    {
      reject: false,
      stdin: 'ignore',
      timeout: 10_000,
    },
  );
  if (asked.failed || asked.stdout.trim() === '') {
    return note(
      'gpu',
      'none found by nvidia-smi',
      'The demo needs none; frontier tasks train on one: install the driver.',
    );
  }
  return ok('gpu', asked.stdout.trim().split('\n').join('; '));
}

/** Whether this machine would offer one; task commands run without a sandbox so far. */
async function examineSandbox(): Promise<Check> {
  const tries = [
    ['bwrap', ['--ro-bind', '/', '/', '--unshare-pid', '--proc', '/proc', 'true']],
    ['unshare', ['--user', '--map-root-user', '--pid', '--fork', 'true']],
  ] as const;
  const working: string[] = [];
  for (const [program, args] of tries) {
    const { failed } = await execa(program, args, {
      reject: false,
      stdin: 'ignore',
      timeout: 10_000,
    });
    if (!failed) working.push(program);
  }
  const offered =
    working.length === 0
      ? 'this machine offers none'
      : `this machine would offer ${working.join(' and ')}`;
  return note(
    'sandbox',
    `task commands run without one in this version; ${offered}`,
    'Run the worker as a user of its own, who can read the hotkey and nothing else of value.',
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
