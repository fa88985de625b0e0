/**
 * Runs git. What git obeys is decided here and nowhere else: an environment of our own making, no
 * configuration of the machine or the user, no hooks, no helper programs, arguments as a list.
 *
 * The checkout is not a repository for this git: the git directory lies elsewhere, and its configuration
 * is compared with the one we wrote each time before git reads it. So nothing that a task command writes,
 * a `.git/config` or `.gitattributes` included, is ever obeyed.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { StepError } from '../../core/error.js';

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

/** Creates the runner; `searchPath` is where `git` is looked for. */
export function createRunGit(searchPath: string): RunGit {
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

    const child = execa('git', [...CONFIGURATION, ...args], {
      env,
      extendEnv: false,
      cwd: options.workTree ?? options.gitDir ?? '/',
      encoding: 'buffer',
      stripFinalNewline: false,
      reject: false,
      maxBuffer: options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES,
      // Its own group: git starts helpers, and ending git alone would leave them on the network.
      detached: true,
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    });
    let timedOut = false;
    const end = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // Gone already.
      }
    };
    const timer = setTimeout(() => {
      timedOut = true;
      end();
    }, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    options.signal?.addEventListener('abort', end, { once: true });
    try {
      const result = await child;
      options.signal?.throwIfAborted();
      if (result.code === 'ENOENT') {
        throw new StepError('PROGRAM_UNUSABLE', `There is no git on ${searchPath}.`, {
          hint: 'Install git 2.32 or newer.',
        });
      }
      if (result.isMaxBuffer) end();
      return {
        exitCode: result.exitCode ?? -1,
        stdout: Buffer.from(result.stdout),
        stderr: Buffer.from(result.stderr).subarray(-8_192).toString('utf8'),
        timedOut,
      };
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', end);
    }
  };
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
