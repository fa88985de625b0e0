import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createGitServer } from './git-server.js';
import { ensureTaskRepository, gitEnvironment } from './task-repository.js';

const run = promisify(execFile);

let home: string;
let source: string;
let server: Server;
let url: string;

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'adit-git-'));
  source = path.join(home, 'source');
  await mkdir(path.join(source, 'pack', '__pycache__'), { recursive: true });
  await writeFile(path.join(source, 'pack', 'train.py'), 'print("train")\n');
  await writeFile(path.join(source, '.gitignore'), 'last_run.json\n');
  await writeFile(path.join(source, 'last_run.json'), '{}');
  await writeFile(path.join(source, 'pack', '__pycache__', 'train.pyc'), 'x');
  server = createGitServer(path.join(home, 'git')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/task.git`;
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await rm(home, { recursive: true, force: true });
});

const publish = async (name = 'task'): Promise<string> =>
  ensureTaskRepository(source, path.join(home, 'git', `${name}.git`));
const git = async (...args: string[]): Promise<string> =>
  (await run('git', args, { env: { ...gitEnvironment(), HOME: home } })).stdout.trim();

describe('a task repository', () => {
  it('is the same commit wherever and whenever it is made, without ignored and generated files', async () => {
    const first = await publish();
    expect(await publish()).toBe(first);
    expect(await publish('again')).toBe(first);
    expect(
      await git(
        '--git-dir',
        path.join(home, 'git', 'task.git'),
        'ls-tree',
        '-r',
        '--name-only',
        first,
      ),
    ).toBe('.gitignore\npack/train.py');
  });

  it('gets one more commit on its branch when its files changed', async () => {
    const first = await publish();
    await writeFile(path.join(source, 'pack', 'train.py'), 'print("better")\n');
    const second = await publish();
    expect(
      await git('--git-dir', path.join(home, 'git', 'task.git'), 'rev-parse', `${second}^`),
    ).toBe(first);
  });
});

describe('the git server', () => {
  it('serves clones of a branch, and of a commit that the branch reaches', async () => {
    const first = await publish();
    await writeFile(path.join(source, 'pack', 'train.py'), 'print("better")\n');
    await publish();
    const clone = path.join(home, 'clone');
    await git('clone', '--quiet', '--branch', 'production', url, clone);
    expect(await readFile(path.join(clone, 'pack', 'train.py'), 'utf8')).toBe('print("better")\n');
    await git('init', '--quiet', path.join(home, 'single'));
    await git('-C', path.join(home, 'single'), 'fetch', '--quiet', '--depth', '1', url, first);
    expect(await git('-C', path.join(home, 'single'), 'rev-parse', 'FETCH_HEAD')).toBe(first);
  });

  it('is read-only and knows nothing else', async () => {
    await publish();
    const clone = path.join(home, 'clone');
    await git('clone', '--quiet', url, clone);
    await expect(git('-C', clone, 'push', url, 'HEAD:refs/heads/mine')).rejects.toThrow(/403/);
    const base = url.replace('/task.git', '');
    const status = async (at: string): Promise<number> => (await fetch(`${base}${at}`)).status;
    expect(await status('/task.git/HEAD')).toBe(404);
    expect(await status('/../source/.gitignore')).toBe(404);
    expect(await status('/none.git/info/refs?service=git-upload-pack')).toBe(404);
    await expect(git('clone', `${base}/none.git`, path.join(home, 'none'))).rejects.toThrow(
      /not found/,
    );
  });
});
