import { createServer, type Server } from 'node:http';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cachedBinaryPath, findTemporal, lookForTemporal } from './find-binary.js';

/** A program that answers as the Temporal CLI does when it is asked what it is. */
const GOOD = `#!/bin/sh
case "$*" in
  --version) echo 'temporal version 9.9.9 (Server 1.29.1)' ;;
  'server start-dev --help') echo '--db-filename --dynamic-config-value --sqlite-pragma' ;;
esac
`;

let folder: string;
let server: Server | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-binary-'));
});

afterEach(async () => {
  server?.close();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function program(file: string, text = GOOD): Promise<string> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
  await chmod(file, 0o755);
  return file;
}

function search(env: NodeJS.ProcessEnv, downloadUrl = 'http://127.0.0.1:1/nothing') {
  return { env, cacheDir: path.join(folder, 'cache'), downloadUrl };
}

/** Serves an archive with the program in it, as Temporal does; counts the requests. */
async function serveArchive(): Promise<{ url: string; requests: string[] }> {
  await program(path.join(folder, 'archive', 'temporal'));
  await execa('tar', ['-czf', 'archive.tar.gz', '-C', 'archive', 'temporal'], { cwd: folder });
  const archive = await readFile(path.join(folder, 'archive.tar.gz'));
  const requests: string[] = [];
  server = createServer((request, response) => {
    requests.push(request.url ?? '');
    response.end(archive);
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/cli`, requests };
}

describe('finding a Temporal server program', () => {
  it('takes `temporal` from PATH before the cache', async () => {
    const onPath = await program(path.join(folder, 'bin', 'temporal'));
    await program(cachedBinaryPath(path.join(folder, 'cache')));
    const found = await findTemporal(search({ PATH: `/nowhere:${path.join(folder, 'bin')}` }));
    expect(found).toEqual({
      path: onPath,
      source: 'PATH',
      version: 'temporal version 9.9.9 (Server 1.29.1)',
    });
  });

  it('takes the cache when `temporal` on PATH is another program of that name', async () => {
    await program(path.join(folder, 'bin', 'temporal'), '#!/bin/sh\necho "a calendar"\n');
    const cached = await program(cachedBinaryPath(path.join(folder, 'cache')));
    const found = await findTemporal(search({ PATH: `${path.join(folder, 'bin')}:/usr/bin:/bin` }));
    expect(found).toMatchObject({ path: cached, source: 'cache' });
  });

  it('downloads once into the cache when two commands ask at the same time', async () => {
    const { url, requests } = await serveArchive();
    const env = { PATH: '/usr/bin:/bin' };
    const found = await Promise.all([
      findTemporal(search(env, url)),
      findTemporal(search(env, url)),
    ]);
    expect(found.map(({ source }) => source).toSorted()).toEqual(['cache', 'download']);
    expect(requests).toHaveLength(1);
    expect(requests[0]).toMatch(/\?platform=(linux|darwin)&arch=(amd64|arm64)$/);
    expect(await readdir(path.join(folder, 'cache', 'temporal'))).toEqual([
      expect.stringMatching(/^\d+\.\d+\.\d+$/),
    ]);
  });

  it('does not keep a download that is no archive', async () => {
    server = createServer((_request, response) =>
      response.end('<html>sign in to the network</html>'),
    );
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/cli`;
    await expect(findTemporal(search({ PATH: folder }, url))).rejects.toThrow(
      /download from 127\.0\.0\.1:\d+: what it sent is not an archive/,
    );
    expect(await readdir(path.join(folder, 'cache', 'temporal'))).toEqual([]);
  });

  it('lists what was tried, why each failed, and three ways out', async () => {
    const error = await findTemporal(search({ PATH: folder })).catch(
      (caught: unknown) => caught as Error & { hint: string },
    );
    expect((error as Error).message.split('\n')).toEqual([
      'No Temporal server could be found or made:',
      '  - `temporal` on PATH: there is none',
      `  - Adit's cache (${cachedBinaryPath(path.join(folder, 'cache'))}): not there yet`,
      expect.stringMatching(/^ {2}- download from 127\.0\.0\.1:1: .*ECONNREFUSED|bad port/),
      '  - `go install github.com/temporalio/cli/cmd/temporal@v1.5.1`: there is no `go` on PATH',
    ]);
    expect(error).toMatchObject({ code: 'SERVER_NOT_MADE' });
    expect((error as { hint: string }).hint.match(/^ {2}[123]\. /gm)).toHaveLength(3);
  });

  it('says why the build failed, and leaves nothing of it behind', async () => {
    await program(
      path.join(folder, 'bin', 'go'),
      '#!/bin/sh\n[ "$1" = version ] && exit 0\nmkdir -p "$GOMODCACHE/x"\necho "go: module lookup disabled" >&2\nexit 1\n',
    );
    await expect(
      findTemporal(search({ PATH: `${path.join(folder, 'bin')}:/usr/bin:/bin` })),
    ).rejects.toThrow(
      '`go install github.com/temporalio/cli/cmd/temporal@v1.5.1`: go: module lookup disabled',
    );
    expect(await readdir(path.join(folder, 'cache', 'temporal'))).toEqual([]);
  });

  it('builds with temporary caches and keeps only the program', async () => {
    const build = `#!/bin/sh
[ "$1" = version ] && exit 0
case "$GOMODCACHE$GOCACHE$GOBIN" in *cache/temporal/build-*) ;; *) exit 1 ;; esac
cat > "$GOBIN/temporal" <<'END'
${GOOD}END
chmod +x "$GOBIN/temporal"
mkdir "$GOMODCACHE/module" && touch "$GOMODCACHE/module/file"
`;
    await program(path.join(folder, 'bin', 'go'), build);
    const found = await findTemporal(search({ PATH: `${path.join(folder, 'bin')}:/usr/bin:/bin` }));
    expect(found.source).toBe('go install');
    expect(found.path).toBe(cachedBinaryPath(path.join(folder, 'cache')));
    expect(await readdir(path.join(folder, 'cache', 'temporal'))).toHaveLength(1);
  });

  it('refuses a program that ADIT_TEMPORAL_BINARY names and that cannot be used', async () => {
    const env = { PATH: folder, ADIT_TEMPORAL_BINARY: path.join(folder, 'missing') };
    await expect(lookForTemporal(search(env))).rejects.toThrow(
      `ADIT_TEMPORAL_BINARY names ${env.ADIT_TEMPORAL_BINARY}, which cannot be used`,
    );
  });
});
