/**
 * A task repository made from a folder of files: bare, one branch `production`, and the same commit
 * on every machine, since author, dates and message are fixed.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const BRANCH = 'refs/heads/production';
const IDENTITY = {
  GIT_AUTHOR_NAME: 'Adit devnet',
  GIT_AUTHOR_EMAIL: 'devnet@adit.invalid',
  GIT_AUTHOR_DATE: '2026-06-01T00:00:00Z',
  GIT_COMMITTER_NAME: 'Adit devnet',
  GIT_COMMITTER_EMAIL: 'devnet@adit.invalid',
  GIT_COMMITTER_DATE: '2026-06-01T00:00:00Z',
};

/** What git needs to run, and no setting of the machine or its user. */
export function gitEnvironment(): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '/usr/bin:/bin',
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
  };
}

/**
 * Makes `directory` a bare repository whose branch `production` holds the files of `source`, and
 * returns that branch's commit. Files that changed since it was made become one more commit.
 */
export async function ensureTaskRepository(source: string, directory: string): Promise<string> {
  const git = async (
    args: readonly string[],
    environment: Record<string, string> = {},
  ): Promise<string> => {
    const { stdout } = await run('git', ['--git-dir', directory, ...args], {
      env: { ...gitEnvironment(), ...environment },
      maxBuffer: 16 * 1024 * 1024,
    });
    return stdout.trim();
  };
  await mkdir(directory, { recursive: true });
  await git(['init', '--quiet', '--bare', '--template=', '--initial-branch=production']);
  // GitHub lets a client fetch any commit that a branch reaches.
  await git(['config', 'uploadpack.allowReachableSHA1InWant', 'true']);
  await git(['config', 'core.autocrlf', 'false']);
  await mkdir(path.join(directory, 'info'), { recursive: true });
  await writeFile(path.join(directory, 'info', 'exclude'), '__pycache__/\n*.pyc\n');

  const scratch = await mkdtemp(path.join(directory, 'index-'));
  try {
    const index = { GIT_INDEX_FILE: path.join(scratch, 'index') };
    await git(['-C', source, '--work-tree', source, 'add', '--all', '.'], index);
    const tree = await git(['write-tree'], index);
    const tip = await git(['for-each-ref', '--format=%(objectname) %(tree)', BRANCH]);
    const [commit = '', committedTree = ''] = tip.split(' ');
    if (committedTree === tree) return commit;
    const parent = commit === '' ? [] : ['-p', commit];
    const message = commit === '' ? 'Publish the task' : 'Update the task';
    const made = await git(['commit-tree', tree, ...parent, '-m', message], IDENTITY);
    await git(['update-ref', BRANCH, made]);
    return made;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
