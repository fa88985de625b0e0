/**
 * Short commands that belong to a connection, such as git's. They run contained like programs, though a pid namespace
 * costs two milliseconds: git starts helpers of its own, and with the namespace one KILL ends all of them, also those
 * that would go on when the command itself has ended.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, open, stat, type FileHandle } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import path from 'node:path';
import type { HostCommand, HostCommandEnd } from '../core/host-protocol.js';
import type { Containment } from './containment.js';
import { identify } from './process-table.js';
import { endTree, PROCESS_MARKER } from './program-tree.js';

/**
 * Waits for the word on 3, so that nothing runs before it is known whom to end, and tells the status on 4. A watch
 * beside the command ends the group when the host dies, which closes 3: nobody would take the result.
 * In a subshell, so that what the shell itself says of a signal is not taken for the command's words.
 */
export const COMMAND_SHIM = `trap : TERM HUP INT
IFS= read -r word <&3 || exit 125
exec 5>&2 2>/dev/null
{ IFS= read -r word <&3; kill -KILL 0; } <&- >&- 4>&- 5>&- &
watch=$!
(exec "$@" 2>&5 3<&- 4>&- 5>&-)
code=$?
kill -KILL $watch
printf '%d\\n' $code >&4`;

const LOOK_MS = 50;

/** What the shell tells of a signal, 128 and its number; 129 is not among them, which git uses itself. */
const SIGNAL_STATUS = new Set(
  (
    [
      'SIGINT',
      'SIGILL',
      'SIGABRT',
      'SIGBUS',
      'SIGFPE',
      'SIGKILL',
      'SIGSEGV',
      'SIGPIPE',
      'SIGTERM',
    ] as const
  ).map((name) => 128 + osConstants.signals[name]),
);

const NOT_RUN = { exitCode: null, timedOut: false, tooMuchOutput: false } as const;

/**
 * Runs a command to its end, whatever its status. When this returns or throws, nothing of it is left. An abort kills
 * its whole tree and rejects with `signal.reason`. Throws what `open` throws when one of its files is not there.
 */
export async function runCommand(
  command: HostCommand,
  containment: Containment,
  signal: AbortSignal,
): Promise<HostCommandEnd> {
  signal.throwIfAborted();
  const spawnError = await findSpawnError(command);
  if (spawnError !== null) return { ...NOT_RUN, spawnError };
  const files: FileHandle[] = [];
  try {
    for (const [file, flags] of [
      [command.stdinFile ?? '/dev/null', constants.O_RDONLY],
      [command.stdoutFile, constants.O_WRONLY | constants.O_APPEND],
      [command.stderrFile, constants.O_WRONLY | constants.O_APPEND],
    ] as const) {
      files.push(await open(file, flags));
    }
    return await runWith(files, { command, containment, signal });
  } finally {
    for (const file of files) await file.close();
  }
}

async function runWith(
  files: readonly FileHandle[],
  {
    command,
    containment,
    signal,
  }: {
    readonly command: HostCommand;
    readonly containment: Containment;
    readonly signal: AbortSignal;
  },
): Promise<HostCommandEnd> {
  const marker = randomUUID();
  const [program = '', ...args] = containment.wrap(
    ['/bin/sh', '-c', COMMAND_SHIM, 'adit', ...command.argv],
    marker,
  );
  let child: ChildProcess;
  try {
    child = spawn(program, args, {
      cwd: command.cwd,
      env: { ...command.env, [PROCESS_MARKER]: marker },
      detached: true,
      stdio: [...files.map(({ fd }) => fd), 'pipe', 'pipe'],
    });
  } catch (error) {
    // Thrown at once for what no system could run, such as a NUL character.
    return { ...NOT_RUN, spawnError: errorCode(error) };
  }
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const failure = await new Promise<string | null>((resolve) => {
    child.once('spawn', () => resolve(null));
    child.once('error', (error) => resolve(errorCode(error)));
  });
  if (failure !== null) return { ...NOT_RUN, spawnError: failure };

  const told = readAll(child);
  const leader = await identify(child.pid ?? 0);
  const word = child.stdio[3];
  if (word !== null && word !== undefined && 'write' in word) {
    word.on('error', () => {});
    word.write('go\n');
  }
  const outputs = files.slice(1);
  const why = await waitForEnd(command, { outputs, exited, signal });
  const cgroup = containment.cgroupOf(marker);
  // The process outside a pid namespace ends by itself when nothing is left in it, and not before.
  const isGone = why === 'ended' && containment.level === 'pidNamespace' && (await exited) !== null;
  if (!isGone && leader !== null) {
    const { level } = containment;
    await endTree({ leader, marker, level, ...(cgroup !== null && { cgroup }) }, 0);
  }
  await exited;
  word?.destroy();
  signal.throwIfAborted();
  const status = /^(\d{1,3})\n$/.exec(await told)?.[1];
  const code = status === undefined || SIGNAL_STATUS.has(Number(status)) ? null : Number(status);
  const isTooMuch = why === 'output' || (await sizeOf(outputs)) > command.outputBytes;
  return {
    exitCode: why === 'ended' ? code : null,
    timedOut: why === 'time',
    tooMuchOutput: isTooMuch,
  };
}

/** What the shim told; it ends when no process of the tree has the descriptor any more. */
function readAll(child: ChildProcess): Promise<string> {
  const stream = child.stdio[4];
  if (stream === null || stream === undefined || !('setEncoding' in stream)) {
    return Promise.resolve('');
  }
  return new Promise((resolve) => {
    let text = '';
    stream.setEncoding('utf8').on('data', (piece: string) => {
      text = (text + piece).slice(0, 16);
    });
    stream.on('error', () => {});
    stream.once('close', () => resolve(text));
  });
}

async function waitForEnd(
  command: HostCommand,
  watched: {
    readonly outputs: readonly FileHandle[];
    readonly exited: Promise<unknown>;
    readonly signal: AbortSignal;
  },
): Promise<'ended' | 'time' | 'output' | 'aborted'> {
  const { outputs, exited, signal } = watched;
  const endsAt = performance.now() + command.timeoutMs;
  for (;;) {
    const restMs = endsAt - performance.now();
    if (signal.aborted) return 'aborted';
    if (restMs <= 0) return 'time';
    if ((await sizeOf(outputs)) > command.outputBytes) return 'output';
    if (await endsWithin(Math.min(LOOK_MS, restMs), exited, signal)) return 'ended';
  }
}

/** Waits for the end, an abort or the time, whichever comes first; true for the end. */
function endsWithin(ms: number, exited: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (hasEnded: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      resolve(hasEnded);
    };
    const onAbort = (): void => done(false);
    const timer = setTimeout(() => done(false), ms);
    signal.addEventListener('abort', onAbort, { once: true });
    void exited.finally(() => done(true));
  });
}

/** Bytes in the files, one that is there twice counted once. */
async function sizeOf(files: readonly FileHandle[]): Promise<number> {
  const stats = await Promise.all(files.map((file) => file.stat()));
  const sizes = new Map(stats.map(({ dev, ino, size }) => [`${dev}:${ino}`, size]));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** Why the command cannot be started, as spawn itself would tell it without the shim between. */
async function findSpawnError({ argv, cwd, env }: HostCommand): Promise<string | null> {
  const folder = await stat(cwd).catch((error: unknown) => errorCode(error));
  if (typeof folder === 'string') return folder;
  if (!folder.isDirectory()) return 'ENOTDIR';
  const [program = ''] = argv;
  if (program === '') return 'ENOENT';
  const folders = program.includes('/') ? [''] : (env['PATH'] ?? '/usr/bin:/bin').split(':');
  let found = 'ENOENT';
  for (const place of folders) {
    const file = path.resolve(cwd, place, program);
    const reason = await access(file, constants.X_OK).then(
      async () => ((await stat(file)).isDirectory() ? 'EACCES' : null),
      (error: unknown) => errorCode(error),
    );
    if (reason === null) return null;
    if (reason !== 'ENOENT' && reason !== 'ENOTDIR') found = reason;
  }
  return found;
}

function errorCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'EINVAL';
}
