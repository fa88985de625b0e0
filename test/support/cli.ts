import path from 'node:path';
import { execa } from 'execa';
import { PACKAGE_ROOT } from './local-network.js';

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the built `adit` with an environment of its own: nothing of this machine's settings gets in. `root` is another
 * build's folder.
 */
export async function adit(
  args: readonly string[],
  options: {
    readonly stateDir: string;
    readonly cwd?: string;
    readonly env?: NodeJS.ProcessEnv;
    readonly root?: string;
  },
): Promise<CliResult> {
  const result = await execa(
    process.execPath,
    [path.join(options.root ?? PACKAGE_ROOT, 'cli', 'adit.js'), ...args],
    {
      reject: false,
      cwd: options.cwd ?? PACKAGE_ROOT,
      extendEnv: false,
      env: environment(options),
    },
  );
  return { exitCode: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
}

/** PATH, HOME and the cache of the Temporal server; a state folder of the test's own. */
export function environment(options: {
  readonly stateDir: string;
  readonly env?: NodeJS.ProcessEnv;
}): NodeJS.ProcessEnv {
  const { PATH, HOME, XDG_CACHE_HOME, ADIT_CACHE_DIR, ADIT_TEMPORAL_BINARY } = process.env;
  const given = { PATH, HOME, XDG_CACHE_HOME, ADIT_CACHE_DIR, ADIT_TEMPORAL_BINARY };
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { ...set, ADIT_STATE_DIR: options.stateDir, NO_COLOR: '1', ...options.env };
}
