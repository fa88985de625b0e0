/**
 * Finds a program that can be an embedded Temporal server, or makes one.
 *
 * In this order, and the first that works is taken: the file that `ADIT_TEMPORAL_BINARY` names ·
 * `temporal` on PATH · Adit's cache · the download that the Temporal SDK uses · `go install`.
 */
import { accessSync, constants, statSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import lockfile from 'proper-lockfile';
import { buildTemporal } from './build-binary.js';
import { downloadTemporal } from './download-binary.js';
import { TemporalServerError } from './server-error.js';

/** Version of the Temporal CLI that is downloaded or built; its server is 1.29.1. */
const TEMPORAL_CLI_VERSION = '1.5.1';

const DOWNLOAD_URL = `https://temporal.download/cli/archive/v${TEMPORAL_CLI_VERSION}`;

export interface BinarySearch {
  readonly env: NodeJS.ProcessEnv;
  readonly cacheDir: string;
  /** Told what is being done while it takes long. */
  readonly onProgress?: (text: string) => void;
  readonly signal?: AbortSignal;
  /** Where the archive is fetched; Temporal's own address when absent. */
  readonly downloadUrl?: string;
}

export interface TemporalBinary {
  readonly path: string;
  /** What `temporal --version` says. */
  readonly version: string;
  readonly source: 'ADIT_TEMPORAL_BINARY' | 'PATH' | 'cache' | 'download' | 'go install';
}

/** What was tried and why it did not work. */
export interface FailedWay {
  readonly way: string;
  readonly reason: string;
}

/** Where a downloaded or built binary is kept. */
export function cachedBinaryPath(cacheDir: string): string {
  return path.join(cacheDir, 'temporal', TEMPORAL_CLI_VERSION, 'temporal');
}

/**
 * A program for the embedded server that is there already; never downloads or builds.
 * Ways that did not work are added to `failed`.
 */
export async function lookForTemporal(
  search: BinarySearch,
  failed: FailedWay[] = [],
): Promise<TemporalBinary | null> {
  const named = search.env['ADIT_TEMPORAL_BINARY'];
  if (named !== undefined && named !== '') {
    const checked = await checkBinary(named, search);
    // Named by the operator: another server in its place would be a surprise.
    if ('reason' in checked) {
      throw new TemporalServerError(
        'SERVER_NOT_MADE',
        `ADIT_TEMPORAL_BINARY names ${named}, which cannot be used: ${checked.reason}`,
        'Correct the variable, or unset it to let Adit find or make a server.',
      );
    }
    return { path: named, version: checked.version, source: 'ADIT_TEMPORAL_BINARY' };
  }
  const onPath = whichTemporal(search.env);
  if (onPath === null) failed.push({ way: '`temporal` on PATH', reason: 'there is none' });
  else {
    const checked = await checkBinary(onPath, search);
    if (!('reason' in checked)) return { path: onPath, version: checked.version, source: 'PATH' };
    failed.push({ way: `\`temporal\` on PATH (${onPath})`, reason: checked.reason });
  }
  const cached = cachedBinaryPath(search.cacheDir);
  if (!isExecutable(cached))
    failed.push({ way: `Adit's cache (${cached})`, reason: 'not there yet' });
  else {
    const checked = await checkBinary(cached, search);
    if (!('reason' in checked)) return { path: cached, version: checked.version, source: 'cache' };
    failed.push({ way: `Adit's cache (${cached})`, reason: checked.reason });
  }
  return null;
}

/**
 * Finds a program for the embedded server, or downloads or builds one into the cache (once, also when
 * two commands ask at the same time). Throws TemporalServerError SERVER_NOT_MADE with all that was tried.
 */
export async function findTemporal(search: BinarySearch): Promise<TemporalBinary> {
  const found = await lookForTemporal(search);
  if (found !== null) return found;

  const folder = path.join(search.cacheDir, 'temporal');
  const release = await lockFolder(folder, search);
  try {
    const failed: FailedWay[] = [];
    // Another command may have made it while this one waited for the lock.
    const made = await lookForTemporal(search, failed);
    if (made !== null) return made;

    const place = cachedBinaryPath(search.cacheDir);
    const url = search.downloadUrl ?? DOWNLOAD_URL;
    const ways = [
      {
        source: 'download' as const,
        way: `download from ${new URL(url).host}`,
        make: () => downloadTemporal(url, folder, search),
      },
      {
        source: 'go install' as const,
        way: `\`go install github.com/temporalio/cli/cmd/temporal@v${TEMPORAL_CLI_VERSION}\``,
        make: () => buildTemporal(TEMPORAL_CLI_VERSION, folder, search),
      },
    ];
    for (const { source, way, make } of ways) {
      const outcome = await make();
      if ('reason' in outcome) {
        failed.push({ way, reason: outcome.reason });
        continue;
      }
      try {
        const checked = await checkBinary(outcome.binary, search);
        if ('reason' in checked) {
          failed.push({ way, reason: checked.reason });
          continue;
        }
        await mkdir(path.dirname(place), { recursive: true });
        await rename(outcome.binary, place);
        return { path: place, version: checked.version, source };
      } finally {
        await outcome.dispose();
      }
    }
    throw new TemporalServerError(
      'SERVER_NOT_MADE',
      [
        'No Temporal server could be found or made:',
        ...failed.map(({ way, reason }) => `  - ${way}: ${reason}`),
      ].join('\n'),
      [
        'three ways out:',
        '  1. install the Temporal CLI (https://docs.temporal.io/cli) so that `temporal` is on PATH, or name it by ADIT_TEMPORAL_BINARY;',
        '  2. install Go (https://go.dev): Adit then builds the server once, in about 3 minutes;',
        '  3. use a server that runs elsewhere: start worker and runs with TEMPORAL_ADDRESS=host:port (docker-compose.yml has one).',
      ].join('\n'),
    );
  } finally {
    await release();
  }
}

async function lockFolder(folder: string, search: BinarySearch): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true });
  for (let waited = false; ; waited = true) {
    search.signal?.throwIfAborted();
    try {
      return await lockfile.lock(folder, {
        stale: 30_000,
        update: 5_000,
        // The default throws out of a timer. A lost lock only means that the work may be done twice: the rename is atomic.
        onCompromised: () => search.onProgress?.('the lock on the server cache was lost; going on'),
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
      if (!waited)
        search.onProgress?.('another command is making the Temporal server; waiting for it');
      await sleep(1_000, undefined, search.signal === undefined ? {} : { signal: search.signal });
    }
  }
}

/** Runs the program: it must say its version, and know the options that Adit starts it with. */
async function checkBinary(
  file: string,
  search: BinarySearch,
): Promise<{ version: string } | { reason: string }> {
  const env = withoutTemporalVariables(search.env);
  const ask = (args: string[]) =>
    execa(file, args, {
      env,
      extendEnv: false,
      reject: false,
      timeout: 30_000,
      stdin: 'ignore',
      all: true,
    });
  const version = await ask(['--version']);
  search.signal?.throwIfAborted();
  if (version.failed)
    return {
      reason: `\`--version\` failed: ${firstLine(version.all || version.shortMessage || '')}`,
    };
  const help = await ask(['server', 'start-dev', '--help']);
  const missing = ['--db-filename', '--dynamic-config-value', '--sqlite-pragma'].filter(
    (flag) => !help.all.includes(flag),
  );
  if (help.failed || missing.length > 0) {
    return {
      reason: `\`server start-dev\` is not there, or lacks ${missing.join(', ') || 'its help'}`,
    };
  }
  return { version: firstLine(version.stdout) };
}

/** The environment without Temporal's own variables: an embedded server and its clients must not follow them. */
export function withoutTemporalVariables(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('TEMPORAL_')));
}

function whichTemporal(env: NodeJS.ProcessEnv): string | null {
  for (const folder of (env['PATH'] ?? '').split(path.delimiter)) {
    if (folder === '') continue;
    const file = path.join(folder, 'temporal');
    if (isExecutable(file)) return file;
  }
  return null;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function firstLine(text: string): string {
  return text.trim().split('\n', 1)[0]?.slice(0, 200) ?? '';
}
