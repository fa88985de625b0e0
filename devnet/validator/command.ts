/** Programs of a replay: each in a process group of its own, ended as a group. */
import { spawn, type ChildProcess } from 'node:child_process';

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The whole environment: nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  /** Written to standard input, which is closed after; none is offered when left out. */
  readonly input?: string;
  /** Aborted when the time for it is over: the group is killed, and the result says so. */
  readonly deadline: AbortSignal;
  /** Aborted when nobody wants a result any more: the group is killed too. */
  readonly signal: AbortSignal;
}

export interface CommandResult {
  /** Null when a signal ended the program. */
  readonly exitCode: number | null;
  readonly timedOut: boolean;
  /** Standard output, then standard error; the middle is missing when it was very long. */
  readonly output: string;
}

const HEAD_BYTES = 1 << 20;
const TAIL_BYTES = 8 << 20;

/**
 * Runs a program to its end and returns how it ended, whatever its exit code.
 * Throws `signal.reason` when aborted, and the system's error when it cannot be started.
 */
export async function runCommand(command: Command): Promise<CommandResult> {
  command.signal.throwIfAborted();
  if (command.deadline.aborted) {
    return { exitCode: null, timedOut: true, output: '' };
  }
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: command.environment,
    // A group of its own: `sh -c` forks, and ending only the shell would leave the benchmark running.
    detached: true,
    stdio: [command.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const streams = [collect(child.stdout), collect(child.stderr)];
  // A program that does not read its input closes the pipe; its exit code tells enough.
  child.stdin?.on('error', () => {});
  child.stdin?.end(command.input);

  let timedOut = false;
  const stop = (): void => endGroup(child);
  const stopLate = (): void => {
    timedOut = true;
    stop();
  };
  command.deadline.addEventListener('abort', stopLate);
  command.signal.addEventListener('abort', stop);
  try {
    const exitCode = await ended(child);
    command.signal.throwIfAborted();
    return { exitCode, timedOut, output: streams.map((stream) => stream.text()).join('') };
  } finally {
    command.deadline.removeEventListener('abort', stopLate);
    command.signal.removeEventListener('abort', stop);
    stop();
  }
}

/** Resolves when the program has ended and closed its output. */
function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code: number | null) => resolve(code));
  });
}

function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) {
    return;
  }
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    // ESRCH: the group has ended. EPERM: macOS says so of a group that has only just ended.
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'ESRCH' && code !== 'EPERM') {
      throw error;
    }
  }
  // A process that left the group may hold the pipes open for ever.
  child.stdout?.destroy();
  child.stderr?.destroy();
}

/** Keeps the beginning and the end of a stream. */
function collect(stream: NodeJS.ReadableStream | null): { text: () => string } {
  let head = Buffer.alloc(0);
  let tail = Buffer.alloc(0);
  let lost = false;
  stream?.on('data', (chunk: Buffer) => {
    const free = Math.max(0, HEAD_BYTES - head.length);
    head = free === 0 ? head : Buffer.concat([head, chunk.subarray(0, free)]);
    tail = free >= chunk.length ? tail : Buffer.concat([tail, chunk.subarray(free)]);
    if (tail.length > 2 * TAIL_BYTES) {
      tail = Buffer.from(tail.subarray(tail.length - TAIL_BYTES));
      lost = true;
    }
  });
  return {
    text: () =>
      lost
        ? `${head.toString('utf8')}\n[...]\n${tail.toString('utf8')}`
        : Buffer.concat([head, tail]).toString('utf8'),
  };
}
