import { mkdir, mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import type { MadeBinary } from './download-binary.js';
import type { BinarySearch } from './find-binary.js';

/** Measured: modules, build cache and linker files take 4.7 GB while the build runs. */
const NEEDED_BYTES = 6_000_000_000;
const BUILD_TIMEOUT_MS = 30 * 60_000;

/**
 * Builds the Temporal CLI from its Go module below `folder`; about 3 minutes on two cores. Module and
 * build caches are temporary, so nothing but the binary is left. The caller holds the folder's lock.
 */
export async function buildTemporal(
  version: string,
  folder: string,
  search: BinarySearch,
): Promise<MadeBinary> {
  const { env } = search;
  const go = await execa('go', ['version'], {
    env,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
  if (go.failed)
    return {
      reason:
        go.code === 'ENOENT'
          ? 'there is no `go` on PATH'
          : `\`go version\` failed: ${go.shortMessage}`,
    };
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < NEEDED_BYTES) {
    return {
      reason: `it needs about 6 GB of free disk at ${folder}, and ${Math.round((bavail * bsize) / 1e9)} GB are free`,
    };
  }

  await removeLeftovers(folder);
  const work = await mkdtemp(path.join(folder, 'build-'));
  const dispose = (): Promise<void> => rm(work, { recursive: true, force: true });
  const caches = { GOBIN: 'bin', GOMODCACHE: 'modules', GOCACHE: 'cache', GOTMPDIR: 'tmp' };
  for (const name of Object.values(caches)) await mkdir(path.join(work, name));

  search.onProgress?.('building the Temporal server with `go install` (about 3 minutes, once)');
  const startedAt = Date.now();
  const build = execa(
    'go',
    [
      'install',
      '-v',
      '-trimpath',
      '-ldflags=-s -w',
      `github.com/temporalio/cli/cmd/temporal@v${version}`,
    ],
    {
      cwd: work,
      env: {
        ...env,
        ...Object.fromEntries(
          Object.entries(caches).map(([name, sub]) => [name, path.join(work, sub)]),
        ),
        // go makes its module cache read-only, which a plain removal would trip over.
        GOFLAGS: `${env['GOFLAGS'] ?? ''} -modcacherw`.trim(),
        GOWORK: 'off',
        CGO_ENABLED: '0',
      },
      extendEnv: false,
      reject: false,
      stdin: 'ignore',
      timeout: BUILD_TIMEOUT_MS,
      ...(search.signal === undefined ? {} : { cancelSignal: search.signal }),
    },
  );
  const counts = { downloaded: 0, compiled: 0 };
  let toldAt = startedAt;
  if (build.stderr !== null) {
    const lines = createInterface({ input: build.stderr });
    lines.on('line', (line) => {
      if (line.startsWith('go: downloading')) counts.downloaded += 1;
      else if (!line.startsWith('go:')) counts.compiled += 1;
      if (Date.now() - toldAt < 5_000) return;
      toldAt = Date.now();
      const seconds = Math.round((toldAt - startedAt) / 1000);
      search.onProgress?.(
        `building the Temporal server: ${counts.downloaded} modules fetched, ${counts.compiled} packages compiled, ${seconds} s`,
      );
    });
  }
  const result = await build;
  if (search.signal?.aborted === true) {
    await dispose();
    throw search.signal.reason;
  }
  if (result.failed) {
    await dispose();
    const lastLine = result.stderr.trim().split('\n').at(-1)?.slice(0, 300);
    return {
      reason: result.timedOut
        ? 'it took longer than 30 minutes'
        : lastLine || (result.shortMessage ?? 'it failed'),
    };
  }
  return { binary: path.join(work, 'bin', 'temporal'), dispose };
}

/** Folders of builds and downloads that were killed; safe because the caller holds the lock. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith('build-') || name.startsWith('download-')) {
      await rm(path.join(folder, name), { recursive: true, force: true });
    }
  }
}
