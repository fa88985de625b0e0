import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import type { BinarySearch } from './find-binary.js';

/** A binary that was just made, in a temporary folder that `dispose` removes; or why there is none. */
export type MadeBinary =
  { readonly binary: string; readonly dispose: () => Promise<void> } | { readonly reason: string };

/** Time for the first answer; a machine without a network should not wait long before it builds instead. */
const CONNECT_TIMEOUT_MS = 5_000;
const DOWNLOAD_TIMEOUT_MS = 10 * 60_000;
/** The archive has about 60 MB. */
const MAX_ARCHIVE_BYTES = 512 * 1024 * 1024;

const PLATFORMS: { readonly [name: string]: string } = { linux: 'linux', darwin: 'darwin' };
const ARCHITECTURES: { readonly [name: string]: string } = { x64: 'amd64', arm64: 'arm64' };

/**
 * Fetches the archive that Temporal serves for this platform and unpacks it below `folder`.
 * Trust is https to Temporal's host, as for the SDK's own download; the program is run before it is kept.
 */
export async function downloadTemporal(
  url: string,
  folder: string,
  search: BinarySearch,
): Promise<MadeBinary> {
  const platform = PLATFORMS[process.platform];
  const arch = ARCHITECTURES[process.arch];
  if (platform === undefined || arch === undefined) {
    return { reason: `there is no archive for ${process.platform} on ${process.arch}` };
  }
  const stop = new AbortController();
  const signal =
    search.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, search.signal]);
  let timer = setTimeout(
    () => stop.abort(new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`)),
    CONNECT_TIMEOUT_MS,
  );
  const work = await mkdtemp(path.join(folder, 'download-'));
  const dispose = (): Promise<void> => rm(work, { recursive: true, force: true });
  try {
    const response = await fetch(`${url}?platform=${platform}&arch=${arch}`, { signal });
    clearTimeout(timer);
    timer = setTimeout(
      () => stop.abort(new Error('the download took too long')),
      DOWNLOAD_TIMEOUT_MS,
    );
    if (!response.ok || response.body === null) {
      await dispose();
      return { reason: `it answered ${response.status}` };
    }
    const archive = path.join(work, 'temporal.tar.gz');
    await save(
      response.body,
      archive,
      Number(response.headers.get('content-length') ?? 0),
      search,
      signal,
    );
    const unpacked = await execa('tar', ['-xzf', archive, '-C', work, 'temporal'], {
      reject: false,
      cancelSignal: signal,
    });
    search.signal?.throwIfAborted();
    const binary = path.join(work, 'temporal');
    if (unpacked.failed || !(await stat(binary)).isFile()) {
      await dispose();
      return { reason: 'what it sent is not an archive with the program `temporal`' };
    }
    return { binary, dispose };
  } catch (error) {
    await dispose();
    if (search.signal?.aborted === true) throw search.signal.reason;
    return { reason: whyFetchFailed(error) };
  } finally {
    clearTimeout(timer);
  }
}

async function save(
  body: NonNullable<Response['body']>,
  file: string,
  expectedBytes: number,
  search: BinarySearch,
  signal: AbortSignal,
): Promise<void> {
  let received = 0;
  let told = 0;
  async function* counted(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      received += chunk.length;
      if (received > MAX_ARCHIVE_BYTES) throw new Error('the archive is larger than 512 MiB');
      if (received - told > 5_000_000) {
        told = received;
        const total = expectedBytes > 0 ? ` of ${Math.round(expectedBytes / 1e6)}` : '';
        search.onProgress?.(
          `downloading the Temporal server: ${Math.round(received / 1e6)}${total} MB`,
        );
      }
      yield chunk;
    }
  }
  await pipeline(Readable.fromWeb(body), counted, createWriteStream(file), { signal });
}

function whyFetchFailed(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause;
  if (cause instanceof Error) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
      return 'its name cannot be resolved (no network?)';
    return cause.message || code || error.message;
  }
  return error.message;
}
