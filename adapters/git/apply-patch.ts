/** Applies a patch to the few files that it changes, without their repository: for whoever checks a bundle. */
import { spawn } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { StepError } from '../../core/error.js';
import { plainText } from '../../core/plain-text.js';
import { createGitDirectory, createRunGit, type RunCommand } from './git-command.js';
import { isCheckoutPath } from './repository-address.js';

export interface BaseFile {
  readonly path: string;
  /** `100644` or `100755`. */
  readonly mode: string;
  readonly bytes: Buffer;
}

/** git's mode and id of the content of a file. */
export interface FileState {
  readonly mode: string;
  readonly object: string;
}

/** Each file before and after, by its path; or why the patch does not apply. */
export type AppliedPatch =
  | {
      readonly before: ReadonlyMap<string, FileState>;
      readonly after: ReadonlyMap<string, FileState>;
    }
  | { readonly reason: string };

/**
 * Applies it as the validator does, in an index: nothing of it is ever written as a file. `searchPath` is where git is
 * looked for. Throws StepError PROGRAM_UNUSABLE without git, and when git was ended.
 */
export async function applyPatch(
  base: readonly BaseFile[],
  patch: Buffer,
  searchPath: string,
): Promise<AppliedPatch> {
  const strange = base.find(
    (file) => !isCheckoutPath(file.path) || !/^100(?:644|755)$/.test(file.mode),
  );
  if (strange !== undefined)
    return { reason: `it changes ${JSON.stringify(strange.path.slice(0, 200))}, no plain file` };
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-patch-'));
  try {
    const gitDir = path.join(folder, 'repository.git');
    await createGitDirectory(gitDir);
    const indexFile = path.join(folder, 'index');
    const runGit = createRunGit({
      searchPath,
      commandsDir: path.join(folder, 'commands'),
      runCommand,
    });
    const git = async (args: readonly string[], input?: Buffer): Promise<Buffer> => {
      const result = await runGit(args, {
        gitDir,
        indexFile,
        ...(input === undefined ? {} : { input }),
      });
      // Ended from outside: that says nothing about the patch.
      if (result.exitCode < 0) {
        const why = result.timedOut ? 'did not end in time' : 'was ended by a signal';
        throw new StepError('PROGRAM_UNUSABLE', `git ${args[0] ?? ''} ${why}.`);
      }
      if (result.exitCode !== 0) throw new GitSaysNo(plainText(result.stderr, 300));
      return result.stdout;
    };
    const list = async (): Promise<Map<string, FileState>> =>
      parseIndex((await git(['ls-files', '--stage', '-z'])).toString('utf8'));

    const lines: string[] = [];
    for (const file of base) {
      const object = await git(['hash-object', '-w', '--stdin', '--no-filters'], file.bytes);
      lines.push(`${file.mode} ${object.toString('utf8').trim()}\t${file.path}\0`);
    }
    await git(['update-index', '-z', '--index-info'], Buffer.from(lines.join('')));
    const before = await list();
    if (patch.length > 0) await git(['apply', '--cached', '-'], patch);
    return { before, after: await list() };
  } catch (error) {
    if (error instanceof GitSaysNo) return { reason: error.message };
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The largest piece of memory that git may ask for: a patch can claim any size. */
const MOST_AT_ONCE = { GIT_ALLOC_LIMIT: String(160 * 1024 * 1024) };

class GitSaysNo extends Error {}

function parseIndex(text: string): Map<string, FileState> {
  const files = new Map<string, FileState>();
  for (const entry of text.split('\0')) {
    const [, mode = '', object = '', file = ''] = /^(\d+) ([0-9a-f]+) \d\t(.*)$/s.exec(entry) ?? [];
    if (entry !== '') files.set(file, { mode, object });
  }
  return files;
}

/** What git may take, in KiB: a stranger's patch can name sizes, and hold packed bytes, that no memory has room for. */
const MOST_MEMORY_KIB = 2 * 1024 * 1024;
/** A system that knows no such limit goes without. */
const LIMITED = `ulimit -v ${MOST_MEMORY_KIB} 2>/dev/null; exec "$0" "$@"`;

/** There is no process host where a stranger checks a bundle; these commands are git's own, and short. */
const runCommand: RunCommand = async (command) => {
  const stdin = command.stdinFile === undefined ? null : await open(command.stdinFile, 'r');
  const stdout = await open(command.stdoutFile, 'w');
  const stderr = await open(command.stderrFile, 'w');
  try {
    return await new Promise((resolve) => {
      const child = spawn('/bin/sh', ['-c', LIMITED, ...command.argv], {
        cwd: command.cwd,
        env: { ...command.env, ...MOST_AT_ONCE },
        stdio: [stdin?.fd ?? 'ignore', stdout.fd, stderr.fd],
        timeout: command.timeoutMs,
        killSignal: 'SIGKILL',
      });
      child.once('error', (error: NodeJS.ErrnoException) =>
        resolve({
          exitCode: null,
          timedOut: false,
          tooMuchOutput: false,
          spawnError: error.code ?? 'failed',
        }),
      );
      child.once('close', (exitCode, signal) =>
        resolve({ exitCode, timedOut: signal === 'SIGKILL', tooMuchOutput: false }),
      );
    });
  } finally {
    await stdin?.close();
    await stdout.close();
    await stderr.close();
  }
};
