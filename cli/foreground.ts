import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { findProgram } from './child-process.js';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs a program of ours in place of this command: same terminal, signals passed on; returns its exit
 * code, or 128 + signal. A process of its own, because `cli` imports neither worker nor devnet.
 */
export async function runInForeground(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const child = spawn(process.execPath, [findProgram(program), ...args], { env, stdio: 'inherit' });
  const release = forwardSignals(child);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) =>
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
      );
    });
  } finally {
    release();
  }
}

/** Passes signals that this command gets on to a child; returns what ends that. */
export function forwardSignals(child: ChildProcess): () => void {
  const forward = (signal: NodeJS.Signals): void => {
    // A terminal sends its Ctrl-C to the child too; a second one would cut its draining short.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  for (const signal of FORWARDED) process.on(signal, forward);
  return () => {
    for (const signal of FORWARDED) process.off(signal, forward);
  };
}
