/** How a validator gets an artifact (protocol 4.4): one GET over https, no redirects, size and digest checked. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { lstat, mkdir, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import tls from 'node:tls';
import { createGunzip, createInflate } from 'node:zlib';
import { VALIDATOR_AGENT } from './agent.js';
import { startAwakeTimer } from './awake-timer.js';
import { PreparationFailed } from './preparation-failed.js';
import type { ReplayJob } from './job.js';

/** Where the artifact lies in the checkout: no file extension, relative to the repository root. */
const ARTIFACT_PATH = '.autoresearch-submission/artifact';

const IDLE_TIMEOUT_MS = 60_000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const YES = new Set(['1', 'true', 'yes']);

export interface Download {
  readonly job: ReplayJob;
  readonly checkout: string;
  /** PEM text of certificates to trust besides the usual ones. */
  readonly ca: string | undefined;
  /** Aborted when the replay's deadline has passed or the validator ends. */
  readonly signal: AbortSignal;
}

/**
 * Stores the job's artifact in the checkout and returns the environment that tells the benchmark about it.
 * Returns an empty environment when there is none to fetch: an unsuitable one that is not required is skipped.
 */
export async function fetchArtifact(
  download: Download,
  required: boolean,
): Promise<Record<string, string>> {
  const reference = artifactReference(download.job, required);
  if (reference === undefined) {
    return {};
  }
  const file = path.join(download.checkout, ARTIFACT_PATH);
  await makeFolder(path.dirname(file));
  await rm(file, { force: true });
  const idle = startAwakeTimer(
    IDLE_TIMEOUT_MS,
    `artifact host was silent for ${IDLE_TIMEOUT_MS / 1_000} s`,
  );
  const signal = AbortSignal.any([download.signal, idle.over]);
  try {
    await receive(await get(reference.url, download.ca, signal), reference, file, {
      signal,
      heard: idle.restart,
    });
  } catch (error) {
    // The stream's own error says only that it was aborted.
    signal.throwIfAborted();
    throw error;
  } finally {
    idle.stop();
  }
  return {
    AUTORESEARCH_SUBMISSION_ARTIFACT_PATH: ARTIFACT_PATH,
    AUTORESEARCH_SUBMISSION_ARTIFACT_URI: reference.url.href,
    AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES: String(reference.sizeBytes),
  };
}

/** True when a replay without an artifact is an error: the patch is blank, or the environment demands one. */
export function isArtifactRequired(
  patchIsBlank: boolean,
  environment: Readonly<Record<string, string>>,
): boolean {
  const demanded = environment['AUTORESEARCH_REQUIRE_SUBMISSION_ARTIFACT'] ?? '';
  return patchIsBlank || YES.has(demanded.trim().toLowerCase());
}

interface ArtifactReference {
  readonly url: URL;
  readonly sha256: string;
  readonly sizeBytes: number;
}

function artifactReference(job: ReplayJob, required: boolean): ArtifactReference | undefined {
  const problem = (text: string): undefined => {
    if (required) {
      throw new PreparationFailed(text);
    }
  };
  if (job.artifactUri === undefined) {
    return problem('a submission artifact is required, the submission has none');
  }
  if (!URL.canParse(job.artifactUri) || new URL(job.artifactUri).protocol !== 'https:') {
    return problem(`artifact_uri must be an https address: ${job.artifactUri}`);
  }
  if (job.artifactSha256 === undefined || job.artifactSizeBytes === undefined) {
    return problem('a remote artifact needs artifact_sha256 and artifact_size_bytes');
  }
  return {
    url: new URL(job.artifactUri),
    sha256: job.artifactSha256,
    sizeBytes: job.artifactSizeBytes,
  };
}

/** Makes the folder inside the checkout; a link in its place would lead the download elsewhere. */
async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  if (!(await lstat(folder)).isDirectory()) {
    throw new PreparationFailed(`${path.basename(folder)} in the checkout is not a folder`);
  }
}

function get(url: URL, ca: string | undefined, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = https.get(
      url,
      {
        signal,
        agent: false,
        headers: { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': VALIDATOR_AGENT },
        ...(ca === undefined ? {} : { ca: [...tls.rootCertificates, ca] }),
      },
      resolve,
    );
    request.on('error', reject);
  });
}

/** Writes the body to a new file, counting and hashing what is written. `heard` is called for every chunk. */
async function receive(
  response: IncomingMessage,
  { sha256, sizeBytes }: ArtifactReference,
  file: string,
  { signal, heard }: { readonly signal: AbortSignal; readonly heard: () => void },
): Promise<void> {
  checkResponse(response, sizeBytes);
  const digest = createHash('sha256');
  let received = 0;
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      heard();
      received += chunk.length;
      digest.update(chunk);
      const tooMany = received > sizeBytes;
      done(tooMany ? sizeMismatch(sizeBytes, `more than ${sizeBytes}`) : null, chunk);
    },
  });
  const target = createWriteStream(file, { flags: 'wx' });
  await pipeline([response, ...decoders(response), counted, target], { signal });
  if (received !== sizeBytes) {
    throw sizeMismatch(sizeBytes, String(received));
  }
  const found = digest.digest('hex');
  if (found !== sha256) {
    throw new PreparationFailed(`artifact digest mismatch: declared ${sha256}, received ${found}`);
  }
}

function checkResponse(response: IncomingMessage, sizeBytes: number): void {
  const status = response.statusCode ?? 0;
  const refuse = (problem: string): never => {
    response.destroy();
    throw new PreparationFailed(problem);
  };
  if (REDIRECTS.has(status)) {
    refuse(`artifact address redirects (HTTP ${status}), redirects are refused`);
  }
  if (status >= 400) {
    refuse(`artifact address answers HTTP ${status}`);
  }
  const length = response.headers['content-length'];
  if (
    length !== undefined &&
    response.headers['content-encoding'] === undefined &&
    Number(length) !== sizeBytes
  ) {
    refuse(`artifact Content-Length is ${length}, declared are ${sizeBytes} bytes`);
  }
}

/** What undoes the transfer's own compression: size and digest are those of the decoded bytes. */
function decoders(response: IncomingMessage): Transform[] {
  switch (response.headers['content-encoding']) {
    case 'gzip':
      return [createGunzip()];
    case 'deflate':
      return [createInflate()];
    default:
      return [];
  }
}

function sizeMismatch(declared: number, received: string): PreparationFailed {
  return new PreparationFailed(
    `artifact size mismatch: declared ${declared} bytes, received ${received}`,
  );
}
