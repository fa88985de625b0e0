/** Real git repositories for tests, in temporary folders. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface TestRepository {
  readonly folder: string;
  /** Writes the files, commits everything on the current branch and returns the commit. */
  readonly commit: (files: Readonly<Record<string, string>>) => Promise<string>;
  readonly git: (...args: string[]) => Promise<string>;
}

/** A repository with a branch `production` and no commit yet. */
export async function makeRepository(): Promise<TestRepository> {
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-repository-'));
  const git = async (...args: string[]): Promise<string> => {
    const identity = ['-c', 'user.name=test', '-c', 'user.email=test@example.invalid'];
    const { stdout } = await run('git', [...identity, ...args], {
      cwd: folder,
      env: {
        PATH: process.env['PATH'],
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
      },
    });
    return stdout;
  };
  await git('init', '--quiet', '--initial-branch=production');
  return {
    folder,
    git,
    async commit(files) {
      for (const [name, content] of Object.entries(files)) {
        const file = path.join(folder, name);
        await mkdir(path.dirname(file), { recursive: true });
        await writeFile(file, content);
      }
      await git('add', '--all');
      await git('commit', '--quiet', '--allow-empty', '--message=test');
      return (await git('rev-parse', 'HEAD')).trim();
    },
  };
}
