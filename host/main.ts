/**
 * The process host as a process: one for each machine and state folder. It starts the programs of steps, keeps their
 * limits, and outlives the workers that ask for them; its programs outlive it in turn.
 *
 *   --state-dir DIR         the state folder                                                required
 *   --idle-exit SECONDS     end when there was no connection and no program for so long     default: never
 *   --containment LEVEL     pidNamespace, cgroup or processGroup: a weaker one than is possible
 *   --gpus 0,1 | none       ids of the devices                                              default: ask nvidia-smi
 *   --end-programs          when it is stopped, TERM, grace, KILL for its programs first, and their next start goes
 *                           on from the checkpoint: in a container, whose end would KILL them
 *
 * Prints one JSON line when it serves; everything else goes to stderr. TERM, INT and HUP stop it and leave its
 * programs running, unless it was told to end them. Its exit status tells whoever started it whether another start may help: see `exitCodeOf`.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { errorMessage, StepError } from '../core/error.js';
import { LOCK_IS_HELD } from './host-record.js';
import { startHost, type HostOptions } from './host.js';
import { readBuild } from './read-build.js';

class UsageError extends Error {}

/** A program that was ended so is lost to its step, which begins the next start. */
const END_FOR_NEXT_START = { leavePrograms: false, reason: 'superseded' } as const;

function readFlags(args: readonly string[]): { options: HostOptions; endsPrograms: boolean } {
  const { values } = parseArgs({
    args: [...args],
    options: {
      'state-dir': { type: 'string' },
      'idle-exit': { type: 'string' },
      containment: { type: 'string' },
      gpus: { type: 'string' },
      'end-programs': { type: 'boolean', default: false },
    },
  });
  const stateDir = values['state-dir'];
  if (stateDir === undefined || stateDir === '') throw new UsageError('--state-dir is missing.');
  const options = {
    stateDir: path.resolve(stateDir),
    build: readBuild(),
    ...readIdleExit(values['idle-exit']),
    ...readContainment(values.containment),
    ...readGpus(values.gpus),
    onRemark: remark,
  };
  return { options, endsPrograms: values['end-programs'] };
}

function readIdleExit(text: string | undefined): { idleExitMs?: number } {
  if (text === undefined) return {};
  const seconds = Number(text);
  if (text.trim() === '' || !(seconds > 0) || !Number.isFinite(seconds)) {
    throw new UsageError(`--idle-exit is ${text}, not a number of seconds above 0.`);
  }
  return { idleExitMs: seconds * 1_000 };
}

function readContainment(text: string | undefined): Pick<HostOptions, 'containment'> {
  switch (text) {
    case undefined:
      return {};
    case 'pidNamespace':
    case 'cgroup':
    case 'processGroup':
      return { containment: text };
    default:
      throw new UsageError(
        `--containment is ${text}, not one of pidNamespace, cgroup, processGroup.`,
      );
  }
}

function readGpus(text: string | undefined): { gpus?: readonly string[] } {
  if (text === undefined) return {};
  if (text === 'none') return { gpus: [] };
  const ids = text.split(',').map((id) => id.trim());
  if (ids.some((id) => !/^[A-Za-z0-9_./-]{1,80}$/.test(id)) || new Set(ids).size < ids.length) {
    throw new UsageError(`--gpus is ${text}, not a list of different ids such as 0,1.`);
  }
  return { gpus: ids };
}

/** The version of the package that this file belongs to, built or not. */
function remark(text: string): void {
  process.stderr.write(`${text}\n`);
}

/**
 * 75 where another host has the state folder: whoever started this one may ask that one. 2 and 78 where it is refused
 * for good: flags, or a folder, disk or machine that cannot be used. Anything else may pass.
 */
function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2;
  if (!(error instanceof StepError) || error.code !== 'HOST_UNUSABLE') return 1;
  return error.cause === LOCK_IS_HELD ? 75 : 78;
}

async function main(): Promise<void> {
  // Whoever started it may be gone, and with it the other end of these.
  process.stdout.on('error', () => {});
  process.stderr.on('error', () => {});
  const { options, endsPrograms } = readFlags(process.argv.slice(2));
  // It outlives whoever started it, and must not keep that one's directory from being removed.
  process.chdir('/');
  const host = await startHost(options);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => void host.stop(endsPrograms ? END_FOR_NEXT_START : {}));
  }
  remark(host.info.promise);
  process.stdout.write(`${JSON.stringify({ ready: true, ...host.info })}\n`);
  await host.closed;
  process.exit();
}

try {
  await main();
} catch (error) {
  remark(`The process host cannot run: ${errorMessage(error)}`);
  if (error instanceof StepError && error.hint !== undefined) remark(error.hint);
  process.exit(exitCodeOf(error));
}
