/** A real git repository, served over http by git's own `git http-backend`. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface GitServer {
  /** Clone address. */
  readonly url: string;
  /** Runs git in a work directory of the repository's owner; returns what it printed. */
  git(...args: string[]): string;
  /** Writes files, commits them on the current branch and publishes all refs; returns the commit. */
  commit(files: Record<string, string>, message?: string): string;
  /** Makes the served repository the same as the owner's. */
  publish(): void;
  /** The owner's work directory. */
  readonly workDir: string;
  /** The served repository as a directory, for clones made by the test: a synchronous one over http would wait for itself. */
  readonly servedDir: string;
  readonly requests: string[];
  close(): Promise<void>;
}

export async function startGitServer(files: Record<string, string>): Promise<GitServer> {
  const root = mkdtempSync(path.join(tmpdir(), 'adit-git-server-'));
  const workDir = path.join(root, 'owner');
  const served = path.join(root, 'served');
  mkdirSync(workDir);
  mkdirSync(served);
  const env = {
    PATH: process.env['PATH'] ?? '/usr/bin:/bin',
    HOME: root,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_NAME: 'Poster',
    GIT_AUTHOR_EMAIL: 'poster@example.org',
    GIT_COMMITTER_NAME: 'Poster',
    GIT_COMMITTER_EMAIL: 'poster@example.org',
  };
  const git = (...args: string[]): string =>
    execFileSync('git', args, {
      cwd: workDir,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
    });
  git('init', '--quiet', '--initial-branch=production');
  git('init', '--quiet', '--bare', '--initial-branch=production', path.join(served, 'task.git'));
  git('remote', 'add', 'origin', path.join(served, 'task.git'));

  const publish = (): void => {
    git('push', '--quiet', '--mirror', 'origin');
  };
  const commit = (changed: Record<string, string>, message = 'Change'): string => {
    for (const [name, content] of Object.entries(changed)) {
      const file = path.join(workDir, name);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
    git('add', '--all');
    git('commit', '--quiet', '--message', message);
    publish();
    return git('rev-parse', 'HEAD').trim();
  };
  commit(files, 'First');

  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    serve(request, response, served, env);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}/task.git`,
    git,
    commit,
    publish,
    workDir,
    servedDir: path.join(served, 'task.git'),
    requests,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function serve(
  request: IncomingMessage,
  response: ServerResponse,
  served: string,
  env: Record<string, string>,
): void {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  const backend = spawn('git', ['http-backend'], {
    env: {
      ...env,
      GIT_PROJECT_ROOT: served,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_ADDR: '127.0.0.1',
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  request.pipe(backend.stdin);
  backend.stdin.on('error', () => {});
  const chunks: Buffer[] = [];
  backend.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  backend.on('close', () => {
    const reply = Buffer.concat(chunks);
    const end = reply.indexOf('\r\n\r\n');
    let status = 200;
    for (const line of reply.subarray(0, Math.max(end, 0)).toString('latin1').split('\r\n')) {
      const [name = '', value = ''] = line.split(': ');
      if (name === 'Status') status = Number(value.slice(0, 3));
      else if (name !== '') response.setHeader(name, value);
    }
    response.writeHead(end < 0 ? 500 : status);
    response.end(reply.subarray(end + 4));
  });
}
