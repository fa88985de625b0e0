/**
 * The place from which validators download artifacts: any https address that takes PUT and answers a
 * plain GET. An artifact's name there is its digest, so that publishing twice changes nothing.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { FileRef } from '../../compiler/values.js';
import { StepError } from '../../core/error.js';
import { boundedFetch, HttpFailure, type BoundedReply } from '../http/bounded-fetch.js';
import { assertPublicHost, isLoopbackHost } from '../http/public-host.js';
import type { Settings } from '../settings/settings.js';

export interface ArtifactHost {
  /** The address that a file of this digest has, or will have. Throws SETTING_MISSING, SETTING_INVALID. */
  address(sha256: string): string;
  /**
   * Uploads a file under its digest and returns its address. It is not fetched back: see `verify`.
   * Throws ARTIFACT_HOST_UNAVAILABLE, ARTIFACT_UNSUITABLE, SETTING_MISSING, SETTING_INVALID.
   */
  publish(file: string, ref: FileRef, signal: AbortSignal): Promise<string>;
  /**
   * Downloads an address as a validator does (protocol 4.4: one GET, no credentials, no redirect) and
   * compares size and digest. Throws ARTIFACT_HOST_UNAVAILABLE, ARTIFACT_UNSUITABLE.
   */
  verify(uri: string, expected: Omit<FileRef, 'uri'>, signal: AbortSignal): Promise<void>;
  /**
   * As `verify`, right after an upload. What is not there now was never stored, whatever was answered (a proxy's page
   * with 200, for instance): ARTIFACT_HOST_UNAVAILABLE, and it is to be uploaded again.
   */
  verifyUpload(uri: string, expected: Omit<FileRef, 'uri'>, signal: AbortSignal): Promise<void>;
  /** Publishes a tiny object and fetches it back. Throws as `publish` and `verify` do. */
  checkWritable(signal: AbortSignal): Promise<void>;
}

type HostSettings = Pick<
  Settings,
  'publishUrl' | 'publishTokenFile' | 'publishCaFile' | 'coordinatorUrl'
>;

/** The validator's own limit for a download (protocol 4.4), plus what a slow line needs. */
const BASE_TIMEOUT_MS = 60_000;
const BYTES_PER_MS = 1_024;
const MAX_REPLY_BYTES = 64 * 1024;
const PROBE = Buffer.from('Adit checks that this place can be written and read.\n');
const PROBE_REF = {
  sha256: createHash('sha256').update(PROBE).digest('hex'),
  sizeBytes: PROBE.length,
};

export function createArtifactHost(settings: HostSettings): ArtifactHost {
  async function assertReachable(url: URL): Promise<void> {
    await assertPublicHost(url.hostname, { allowLoopback: isOnLoopback(settings.coordinatorUrl) });
  }

  async function put(
    body: () => Readable | Uint8Array,
    { sha256, sizeBytes }: Omit<FileRef, 'uri'>,
    signal: AbortSignal,
  ): Promise<string> {
    const uri = host.address(sha256);
    const token = await readSetting(settings.publishTokenFile, 'publishTokenFile');
    const ca = await readSetting(settings.publishCaFile, 'publishCaFile');
    const reply = await translate(uri, async () => {
      await assertReachable(new URL(uri));
      return boundedFetch(uri, {
        method: 'PUT',
        headers: {
          'content-type': 'application/octet-stream',
          'content-length': String(sizeBytes),
          ...(token === null ? {} : { authorization: `Bearer ${assertToken(token)}` }),
        },
        body: body(),
        maxBodyBytes: MAX_REPLY_BYTES,
        timeoutMs: timeoutMs(sizeBytes),
        signal,
        ...(ca === null ? {} : { ca }),
      });
    });
    assertStored(reply, uri);
    return uri;
  }

  const host: ArtifactHost = {
    address(sha256) {
      return `${publishBase(settings.publishUrl)}/${sha256}`;
    },

    async publish(file, ref, signal) {
      try {
        return await put(() => createReadStream(file), ref, signal);
      } catch (error) {
        if (error instanceof StepError && error.code === 'ARTIFACT_HOST_UNAVAILABLE') {
          // A host that refuses a large body often closes before its reply can be read; a small one
          // gets through and tells a wrong token from a lost connection.
          await put(() => PROBE, PROBE_REF, signal);
        }
        throw error;
      }
    },

    async verify(uri, expected, signal) {
      assertFetched(await compare(uri, expected, signal), uri);
    },

    async verifyUpload(uri, expected, signal) {
      const reply = await compare(uri, expected, signal);
      if (reply.status === 404) {
        throw new StepError(
          'ARTIFACT_HOST_UNAVAILABLE',
          `${uri} answered 404 right after it took the upload.`,
          {
            hint: 'Does ADIT_PUBLISH_URL store what is put there, and serve it at the same address?',
          },
        );
      }
      assertFetched(reply, uri);
    },

    async checkWritable(signal) {
      await host.verifyUpload(await put(() => PROBE, PROBE_REF, signal), PROBE_REF, signal);
    },
  };

  /** The reply; the bytes of one with 200 are those expected. */
  async function compare(
    uri: string,
    expected: Omit<FileRef, 'uri'>,
    signal: AbortSignal,
  ): Promise<BoundedReply> {
    const url = assertHttps(uri);
    const ca = await readSetting(settings.publishCaFile, 'publishCaFile');
    const hash = createHash('sha256');
    let sizeBytes = 0;
    const reply = await translate(uri, async () => {
      await assertReachable(url);
      return boundedFetch(uri, {
        // A small artifact is no reason to take a long error page for the artifact.
        maxBodyBytes: Math.max(expected.sizeBytes, MAX_REPLY_BYTES),
        timeoutMs: timeoutMs(expected.sizeBytes),
        signal,
        onChunk: (chunk) => {
          hash.update(chunk);
          sizeBytes += chunk.length;
        },
        ...(ca === null ? {} : { ca }),
      });
    });
    if (reply.status !== 200) return reply;
    const wrong = difference(reply, { sha256: hash.digest('hex'), sizeBytes }, expected);
    if (wrong === null) return reply;
    if (reply.headers['content-type']?.startsWith('text/html') === true)
      throw new StepError('ARTIFACT_HOST_UNAVAILABLE', `${uri} answered with a web page.`);
    throw unsuitable(`${uri} ${wrong}.`);
  }
  return host;
}

function publishBase(publishUrl: string | null): string {
  if (publishUrl === null) {
    throw new StepError('SETTING_MISSING', 'No place to publish artifacts is set.', {
      hint: 'Set ADIT_PUBLISH_URL to an https address that takes PUT and answers GET.',
    });
  }
  const url = URL.canParse(publishUrl) ? new URL(publishUrl) : null;
  if (url !== null && (url.username !== '' || url.password !== '')) {
    throw new StepError(
      'SETTING_INVALID',
      `The place to publish at ${url.host} must not hold a user or a password.`,
      { hint: 'Put a token into a file and name it in ADIT_PUBLISH_TOKEN_FILE.' },
    );
  }
  if (url?.protocol !== 'https:' || url.search !== '' || url.hash !== '') {
    throw new StepError(
      'SETTING_INVALID',
      `Artifacts cannot be published to ${publishUrl.split('?')[0]}: it must be an https address without query.`,
      { hint: 'Correct ADIT_PUBLISH_URL. Validators download from https only.' },
    );
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** How what was fetched differs, for people; null when it does not. */
function difference(
  { headers }: BoundedReply,
  fetched: Omit<FileRef, 'uri'>,
  expected: Omit<FileRef, 'uri'>,
): string | null {
  const declared = headers['content-length'];
  const isEncoded = headers['content-encoding'] !== undefined;
  if (declared !== undefined && !isEncoded && declared !== String(expected.sizeBytes))
    return `declares ${declared} bytes, not ${expected.sizeBytes}`;
  if (fetched.sizeBytes !== expected.sizeBytes)
    return `has ${fetched.sizeBytes} bytes, not ${expected.sizeBytes}`;
  if (fetched.sha256 !== expected.sha256)
    return `has SHA-256 ${fetched.sha256}, not ${expected.sha256}`;
  return null;
}

function assertHttps(uri: string): URL {
  const url = URL.canParse(uri) ? new URL(uri) : null;
  if (url?.protocol !== 'https:') {
    throw unsuitable(`${JSON.stringify(uri.slice(0, 200))} is not an https address.`);
  }
  return url;
}

function assertStored({ status, body }: BoundedReply, uri: string): void {
  if (status >= 200 && status < 300) return;
  assertAvailable(status, uri);
  const said = JSON.stringify(body.toString('utf8').slice(0, 120));
  throw new StepError('ARTIFACT_UNSUITABLE', `${uri} refused the upload with ${status}: ${said}.`, {
    hint:
      status === 401 || status === 403
        ? 'Check ADIT_PUBLISH_TOKEN_FILE, then answer with `adit decide`.'
        : 'ADIT_PUBLISH_URL must take PUT of <url>/<sha256>; then answer with `adit decide`.',
  });
}

function assertFetched({ status }: BoundedReply, uri: string): void {
  if (status === 200) return;
  assertAvailable(status, uri);
  throw unsuitable(`${uri} answered ${status}, not 200.`);
}

function assertAvailable(status: number, uri: string): void {
  if (status >= 500 || status === 429) {
    throw new StepError('ARTIFACT_HOST_UNAVAILABLE', `${uri} answered ${status}.`);
  }
}

/** Runs one exchange and translates what the transport says. */
async function translate(
  uri: string,
  exchange: () => Promise<BoundedReply>,
): Promise<BoundedReply> {
  try {
    return await exchange();
  } catch (error) {
    if (!(error instanceof HttpFailure)) throw error;
    if (error.kind === 'unreachable' || error.kind === 'timeout') {
      throw new StepError('ARTIFACT_HOST_UNAVAILABLE', error.message, {
        hint: 'If its certificate is of your own authority, set ADIT_PUBLISH_CA_FILE.',
        cause: error,
      });
    }
    throw unsuitable(error.kind === 'not_allowed' ? `${uri}: ${error.message}` : error.message);
  }
}

function unsuitable(message: string): StepError {
  return new StepError('ARTIFACT_UNSUITABLE', message, {
    hint: 'A validator would not accept it: it downloads once over https, without credentials or redirects, and compares size and digest. Mend the place, then answer with `adit decide`: retry uploads again only what is not there.',
  });
}

function timeoutMs(sizeBytes: number): number {
  return BASE_TIMEOUT_MS + Math.ceil(sizeBytes / BYTES_PER_MS);
}

function isOnLoopback(url: string | null): boolean {
  return url !== null && URL.canParse(url) && isLoopbackHost(new URL(url).hostname);
}

/** The text of a file that a setting names, without white space around it; null when it is not set. */
async function readSetting(
  file: string | null,
  setting: 'publishTokenFile' | 'publishCaFile',
): Promise<string | null> {
  if (file === null) return null;
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new StepError(
      'SETTING_INVALID',
      `${file}, of setting ${setting}, cannot be read (${reason}).`,
      {
        cause: error,
      },
    );
  }
}

function assertToken(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new StepError('SETTING_INVALID', 'The file of setting publishTokenFile holds no token.', {
    hint: 'It must hold one line of printable characters without spaces.',
  });
}
