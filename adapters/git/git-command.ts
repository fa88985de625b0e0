/**
 * Runs git. What git obeys is decided here and nowhere else: an environment of our own making, no
 * configuration of the machine or the user, no hooks, no helper programs, arguments as a list.
 *
 * The checkout is not a repository for this git: the git directory lies elsewhere, and its configuration
 * is compared with the one we wrote each time before git reads it. So nothing that a task command writes,
 * a `.git/config` or `.gitattributes` included, is ever obeyed.
 */
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../core/error.js';
import type { HostCommand, HostCommandEnd } from '../../core/host-protocol.js';

export interface GitCommandOptions {
  /** The git directory; absent for commands that need none. */
  readonly gitDir?: string;
  /** The directory that files are checked out into. */
  readonly workTree?: string;
  /** A private index: no command ever uses the one of the repository. */
  readonly indexFile?: string;
  readonly input?: Uint8Array;
  readonly timeoutMs?: number;
  readonly maxOutputBytes?: number;
  /** True to let git use the network: https, and http to this machine. */
  readonly network?: 'https' | 'http';
  readonly signal?: AbortSignal | undefined;
}

export interface GitCommandResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly timedOut: boolean;
}

export type RunGit = (
  args: readonly string[],
  options: GitCommandOptions,
) => Promise<GitCommandResult>;

const DEFAULT_TIMEOUT_MS = 60_000;
const DEFAULT_MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

/** Configuration that goes with every command, so that none depends on a file alone. */
const CONFIGURATION = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.attributesFile=/dev/null',
  'core.excludesFile=/dev/null',
  'core.pager=cat',
  'core.quotepath=off',
  'core.autocrlf=false',
  'core.safecrlf=false',
  'core.untrackedCache=false',
  'credential.helper=',
  'color.ui=false',
  'diff.noprefix=false',
  'diff.mnemonicPrefix=false',
  'diff.external=',
  'submodule.recurse=false',
  'fetch.recurseSubmodules=false',
  'gc.auto=0',
  'maintenance.auto=false',
  'http.followRedirects=initial',
].flatMap((setting) => ['-c', setting]);

/** The whole configuration of a git directory of ours. */
const REPOSITORY_CONFIG =
  '[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfilemode = true\n';

/**
 * Attributes of the highest precedence: what a checkout holds is, byte for byte, what git stores. With
 * conversions on, a command could hide content behind a `.gitattributes` of its own (`ident`, `eol`).
 */
const REPOSITORY_ATTRIBUTES = '* -text -ident !eol !filter !working-tree-encoding !diff !merge\n';

/** Runs a short command to its end, its whole tree ended when the signal is aborted. */
export type RunCommand = (command: HostCommand, signal?: AbortSignal) => Promise<HostCommandEnd>;

/**
 * Creates the runner. `searchPath` is where `git` is looked for; the commands run through `runCommand`, with their
 * input and output in files of a folder of their own under `commandsDir`.
 */
export function createRunGit(from: {
  readonly searchPath: string;
  readonly commandsDir: string;
  readonly runCommand: RunCommand;
}): RunGit {
  const { searchPath, commandsDir, runCommand } = from;
  let program: Promise<string> | null = null;

  return async (args, options) => {
    options.signal?.throwIfAborted();
    if (options.gitDir !== undefined) await assertOwnConfiguration(options.gitDir);
    const env: Record<string, string> = {
      PATH: searchPath,
      // Nothing lies under it: no .gitconfig, no .netrc, no credentials.
      HOME: '/dev/null',
      LANG: 'C.UTF-8',
      LC_ALL: 'C.UTF-8',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_ATTR_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_OPTIONAL_LOCKS: '0',
      GIT_NO_REPLACE_OBJECTS: '1',
      GIT_ALLOW_PROTOCOL: options.network ?? 'none',
      GIT_HTTP_LOW_SPEED_LIMIT: '1000',
      GIT_HTTP_LOW_SPEED_TIME: '60',
    };
    if (options.gitDir !== undefined) env['GIT_DIR'] = options.gitDir;
    if (options.workTree !== undefined) env['GIT_WORK_TREE'] = options.workTree;
    if (options.indexFile !== undefined) env['GIT_INDEX_FILE'] = options.indexFile;

    program ??= findProgram('git', searchPath);
    const git = await program.catch((error: unknown) => {
      // Looked for again by the next command: it may be installed meanwhile.
      program = null;
      throw error;
    });
    const folder = await makeFolder(commandsDir);
    const file = (name: string): string => path.join(folder, name);
    try {
      for (const name of ['out', 'err']) await writeFile(file(name), '', { mode: 0o600 });
      if (options.input !== undefined) await writeFile(file('in'), options.input, { mode: 0o600 });
      const end = await runCommand(
        {
          argv: [git, ...CONFIGURATION, ...args],
          cwd: options.workTree ?? options.gitDir ?? '/',
          env,
          ...(options.input === undefined ? {} : { stdinFile: file('in') }),
          stdoutFile: file('out'),
          stderrFile: file('err'),
          timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
          outputBytes: options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES,
        },
        options.signal,
      );
      if (end.spawnError !== undefined) {
        throw new StepError('PROGRAM_UNUSABLE', `${git} could not be started: ${end.spawnError}.`, {
          hint: 'Install git 2.32 or newer.',
        });
      }
      return {
        exitCode: end.exitCode ?? -1,
        stdout: await readFile(file('out')),
        stderr: (await readFile(file('err'))).subarray(-8_192).toString('utf8'),
        timedOut: end.timedOut,
      };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

/** An absolute path, since what wraps the command would not tell a program that is not there from one that failed. */
async function findProgram(name: string, searchPath: string): Promise<string> {
  for (const folder of searchPath.split(path.delimiter)) {
    if (!path.isAbsolute(folder)) continue;
    const candidate = path.join(folder, name);
    const found = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  throw new StepError('PROGRAM_UNUSABLE', `There is no ${name} on ${searchPath}.`, {
    hint: 'Install git 2.32 or newer.',
  });
}

/** No command lives as long: a folder that is older was left by a worker that died. */
const ABANDONED_AFTER_MS = 24 * 60 * 60_000;

async function makeFolder(commandsDir: string): Promise<string> {
  try {
    return await mkdtemp(path.join(commandsDir, 'git-'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await mkdir(commandsDir, { recursive: true, mode: 0o700 });
    return mkdtemp(path.join(commandsDir, 'git-'));
  }
}

/** Removes what commands of workers that died left behind. */
export async function removeAbandonedCommands(commandsDir: string): Promise<void> {
  for (const name of await readdir(commandsDir).catch(() => [])) {
    const folder = path.join(commandsDir, name);
    const found = await stat(folder).catch(() => null);
    if (found === null || Date.now() - found.mtimeMs < ABANDONED_AFTER_MS) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

/** Makes an empty git directory with our configuration and nothing else: no hooks, no templates. */
export async function createGitDirectory(gitDir: string): Promise<void> {
  await mkdir(path.join(gitDir, 'objects', 'info'), { recursive: true });
  await mkdir(path.join(gitDir, 'refs', 'heads'), { recursive: true });
  await mkdir(path.join(gitDir, 'info'), { recursive: true });
  await writeFile(path.join(gitDir, 'info', 'attributes'), REPOSITORY_ATTRIBUTES);
  await writeFile(path.join(gitDir, 'HEAD'), 'ref: refs/heads/unborn\n');
  await writeFile(path.join(gitDir, 'config'), REPOSITORY_CONFIG);
}

async function assertOwnConfiguration(gitDir: string): Promise<void> {
  const read = (name: string): Promise<string | null> =>
    readFile(path.join(gitDir, name), 'utf8').catch(() => null);
  const [config, attributes, commonDir] = await Promise.all([
    read('config'),
    read(path.join('info', 'attributes')),
    read('commondir'),
  ]);
  if (config === REPOSITORY_CONFIG && attributes === REPOSITORY_ATTRIBUTES && commonDir === null)
    return;
  throw new StepError('WORKSPACE_CHANGED', `The git directory ${gitDir} is not as we made it.`, {
    hint: 'A program on this machine changed or removed it; start a new run.',
  });
}
