import path from 'node:path';

/**
 * How this program is called from where it was called: the start of every command that is printed to be typed.
 * `npm link` puts `adit` on the PATH; from `npm run` and `npx`, or by its file, only `npx adit` is found again.
 */
export function ownName(
  env: NodeJS.ProcessEnv = process.env,
  program: string | undefined = process.argv[1],
): string {
  const linked = env['npm_command'] === undefined && path.basename(program ?? '') === 'adit';
  return linked ? 'adit' : 'npx adit';
}
