/**
 * A notice handed to a command of the operator: JSON on its stdin, an environment of a few names, a time limit for it
 * and all that it starts. It runs beside the worker, not in the process host: it must also tell that the host is down.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Notice } from '../../core/notice.js';
import type { HookOutcome } from './notifier.js';

/** Time for the command, in milliseconds; then its process group is killed. */
const TIMEOUT_MS = 60_000;

export interface HookCommand {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: { readonly [name: string]: string };
  /** Absent: a minute. */
  readonly timeoutMs?: number;
}

/** Delivered when it exits with 0. What it prints is not kept: nobody knows what would be in it. */
export async function runCommand(
  command: HookCommand,
  notice: Notice,
  signal: AbortSignal,
): Promise<HookOutcome> {
  const { timeoutMs = TIMEOUT_MS } = command;
  signal.throwIfAborted();
  const timeout = AbortSignal.timeout(timeoutMs);
  const stop = AbortSignal.any([timeout, signal]);
  try {
    const [code, killedBy] = await ended(start(command, notice), stop);
    if (signal.aborted) throw signal.reason;
    if (timeout.aborted) return failed(`did not end within ${timeoutMs / 1_000} s`);
    if (code === 0) return { kind: 'delivered' };
    return failed(code === null ? `was ended by ${killedBy}` : `exited with ${code}`);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    return failed(`could not be started (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

function start({ argv, cwd, env }: HookCommand, notice: Notice): ChildProcess {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    cwd,
    env: { ...env },
    // A group of its own: what it starts is ended with it.
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  // A command that does not read its stdin has been told all the same.
  child.stdin.on('error', () => {});
  child.stdin.end(`${JSON.stringify(notice)}\n`);
  return child;
}

/** Its exit code and the signal that ended it; with all that it started it is killed when `stop` is aborted. */
async function ended(
  child: ChildProcess,
  stop: AbortSignal,
): Promise<readonly [number | null, string | null]> {
  const kill = (): void => killGroup(child.pid);
  stop.addEventListener('abort', kill);
  try {
    return (await once(child, 'exit')) as [number | null, string | null];
  } finally {
    stop.removeEventListener('abort', kill);
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}

function failed(what: string): HookOutcome {
  return { kind: 'failed', reason: `The command ${what}.` };
}
