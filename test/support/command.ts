/** A command of `adit` in this process, for what needs no server and no process of its own. */
import { vi } from 'vitest';
import { runCommandLine } from '../../cli/command-line.js';

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs it as `cli/adit.js` would, and takes what it prints. */
export async function runCommand(...argv: readonly string[]): Promise<CommandResult> {
  let stdout = '';
  let stderr = '';
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      stdout += String(text);
      return true;
    }),
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      stderr += String(text);
      return true;
    }),
  ];
  try {
    process.exitCode = undefined;
    return { exitCode: await runCommandLine(argv), stdout, stderr };
  } finally {
    process.exitCode = undefined;
    for (const spy of spies) spy.mockRestore();
  }
}
