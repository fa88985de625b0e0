/**
 * The shim: a small shell that takes the program's lock, waits for the word, runs the program, and writes its
 * status over the blanks of exit.json. It reads its script from the host, so it can be started before anybody
 * knows which program it will run:
 *
 *   shimOpening   when it is started: signals and the lock
 *   shimWord      the word: one compound command, which a shell runs whole or, when the host dies in the middle of
 *                 writing it, not at all; without it the shim ends by itself, and no program ran
 *
 * Its descriptors:
 *   0   the script; /dev/null from the word on
 *   1   the log, from the word on
 *   3   exit.json, from the word on; the program does not get it
 *   4   the file of the program's lock, which everything that inherits it holds
 *   5…  locks of the leased devices
 * All are open before the program's first instruction, so nothing that the program does to the folder changes where
 * the status goes. The environment comes through the word too: it stands in no command line and on no disk.
 */

/**
 * The traps keep the shim alive through the signals that end or warn the group; a caught signal is as it was in
 * the program, which an ignored one would not be. `flock` is the path of flock(1).
 */
export function shimOpening(flock: string): string {
  return `trap : TERM HUP INT QUIT USR1 USR2 ALRM\n${quote(flock)} -n 4 || exit 125\n`;
}

export interface ShimProgram {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: { readonly [name: string]: string };
  /** Both are there already. */
  readonly log: string;
  readonly exit: string;
}

/** What makes the shim run the program. No string may hold a NUL character. */
export function shimWord({ argv, cwd, env, log, exit }: ShimProgram): string {
  const variables = Object.entries(env)
    // No shell passes on others.
    .filter(([name]) => /^[A-Za-z_]\w*$/.test(name) && !OF_THE_SHELL.has(name))
    // `command`: a name that this shell keeps for itself must not end it.
    .map(([name, value]) => `command export ${name}=${quote(value)}\n`);
  return `{
exec </dev/null >>${quote(log)} 3<>${quote(exit)} || exit 125
cd -P ${quote(cwd)} || exit 125
unset OLDPWD
${variables.join('')}(exec ${argv.map(quote).join(' ')} 2>&1 3>&-)
code=$?
printf '{"code":%d}' "$code" >&3
exit
}
`;
}

/** PWD tells where the program is; the others end bash when they are given what they do not take. */
const OF_THE_SHELL = new Set(['PWD', 'OPTIND', 'SRANDOM']);

/** One word of sh, whatever is in it. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
