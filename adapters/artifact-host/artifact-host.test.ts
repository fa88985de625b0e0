import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { FileRef } from '../../compiler/values.js';
import { StepError } from '../../core/error.js';
import {
  startHttpsServer,
  startHttpsStorage,
  STORAGE_TOKEN,
  type HttpsServer,
  type HttpsStorage,
} from '../../test/fakes/https-storage.js';
import { createArtifactHost, type ArtifactHost } from './artifact-host.js';

const { signal } = new AbortController();

let folder: string;
let storage: HttpsStorage;
const servers: HttpsServer[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-artifacts-'));
  storage = await startHttpsStorage();
});
afterEach(async () => {
  await storage.close();
  for (const server of servers.splice(0)) await server.close();
  await rm(folder, { recursive: true, force: true });
});

type Listener = Parameters<typeof startHttpsServer>[0];

async function serve(listener: Listener): Promise<HttpsServer> {
  const server = await startHttpsServer(listener);
  servers.push(server);
  return server;
}

function hostAt(
  { url, caFile }: Pick<HttpsServer, 'url' | 'caFile'>,
  change: Partial<Parameters<typeof createArtifactHost>[0]> = {},
): ArtifactHost {
  return createArtifactHost({
    publishUrl: url,
    publishCaFile: caFile,
    publishTokenFile: storage.tokenFile,
    coordinatorUrl: 'http://127.0.0.1:8000',
    ...change,
  });
}

async function newFile(bytes: Buffer): Promise<{ file: string; ref: FileRef }> {
  const file = path.join(folder, 'artifact');
  await writeFile(file, bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { file, ref: { uri: `store:${sha256}`, sha256, sizeBytes: bytes.length } };
}

async function failureOf(promise: Promise<unknown>): Promise<StepError> {
  const outcome = await promise.then(
    () => 'no failure',
    (error: unknown) => error,
  );
  if (!(outcome instanceof StepError)) throw new Error(`no StepError but ${String(outcome)}`);
  return outcome;
}

test('a file is uploaded under its digest with its length and the token, and fetched back without', async () => {
  const host = hostAt({ ...storage, url: `${storage.url}/artifacts/` });
  const bytes = Buffer.alloc(3_000_000, 'abc');
  const { file, ref } = await newFile(bytes);
  const uri = await host.publish(file, ref, signal);
  await host.verify(uri, ref, signal);

  expect(uri).toBe(`${storage.url}/artifacts/${ref.sha256}`);
  expect(uri).toBe(host.address(ref.sha256));
  expect(storage.objects.get(`/artifacts/${ref.sha256}`)?.equals(bytes)).toBe(true);
  const [put, get] = storage.requests;
  expect(put?.headers).toMatchObject({
    'content-length': '3000000',
    authorization: `Bearer ${STORAGE_TOKEN}`,
  });
  expect(get?.method).toBe('GET');
  expect(get?.headers.authorization).toBeUndefined();
});

test('the place is writable when a probe can be put and fetched back', async () => {
  await hostAt(storage).checkWritable(signal);
  expect(storage.objects.size).toBe(1);
});

test('an artifact that changed after publishing is unsuitable', async () => {
  const host = hostAt(storage);
  const { file, ref } = await newFile(Buffer.from('as it was published'));
  const uri = await host.publish(file, ref, signal);
  const changed = Buffer.from('as it is, just as long!'.slice(0, ref.sizeBytes));
  storage.objects.set(`/${ref.sha256}`, changed);
  const failure = await failureOf(host.verify(uri, ref, signal));
  const sha256 = createHash('sha256').update(changed).digest('hex');
  expect(failure.code).toBe('ARTIFACT_UNSUITABLE');
  expect(failure.message).toBe(`${uri} has SHA-256 ${sha256}, not ${ref.sha256}.`);
});

test.each<[string, Listener, RegExp]>([
  [
    'redirects',
    (_q, r) => r.writeHead(302, { location: 'https://cdn.example.org/x' }).end(),
    /answered 302, a redirect to https:\/\/cdn.example.org\/x; redirects are not followed\.$/,
  ],
  ['is not found', (_q, r) => r.writeHead(404).end(), /answered 404, not 200\.$/],
  ['is part of itself', (_q, r) => r.writeHead(206).end('0123456789'), /answered 206, not 200\.$/],
  ['is too short', (_q, r) => r.end('012345678'), /declares 9 bytes, not 10\.$/],
  [
    'is too short and does not say so',
    (_q, r) => r.writeHead(200, { 'transfer-encoding': 'chunked' }).end('012345678'),
    /has 9 bytes, not 10\.$/,
  ],
  ['is too long', (_q, r) => r.end('0123456789a'), /declares 11 bytes, not 10\.$/],
  [
    'is other bytes',
    (_q, r) => r.end('0123456780'),
    /has SHA-256 [0-9a-f]{64}, not 84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\.$/,
  ],
])('an artifact that %s is unsuitable', async (_what, listener, message) => {
  const server = await serve(listener);
  const { ref } = await newFile(Buffer.from('0123456789'));
  const failure = await failureOf(hostAt(server).verify(`${server.url}/x`, ref, signal));
  expect(failure.code).toBe('ARTIFACT_UNSUITABLE');
  expect(failure.message).toMatch(message);
});

test('a length is not compared when the bytes are sent encoded, the bytes themselves are', async () => {
  const server = await serve((_request, response) =>
    response
      .writeHead(200, { 'content-encoding': 'x-plain', 'content-length': '10' })
      .end('0123456789'),
  );
  const { ref } = await newFile(Buffer.from('0123456789'));
  await hostAt(server).verify(`${server.url}/x`, ref, signal);
});

test.each(['http://127.0.0.1/x', 'file:///etc/passwd', '/etc/passwd', 'ftp://example.org/x'])(
  '%s is not an https address',
  async (uri) => {
    const { ref } = await newFile(Buffer.from('x'));
    const failure = await failureOf(hostAt(storage).verify(uri, ref, signal));
    expect(failure.code).toBe('ARTIFACT_UNSUITABLE');
    expect(failure.message).toBe(`"${uri}" is not an https address.`);
  },
);

test('a private address is refused, and so is this machine unless the coordinator is on it', async () => {
  const { ref } = await newFile(Buffer.from('x'));
  const host = hostAt(storage, { coordinatorUrl: 'https://coordinator.example.org' });
  const lan = await failureOf(host.verify('https://192.168.0.7/x', ref, signal));
  expect(lan.message).toBe(
    'https://192.168.0.7/x: 192.168.0.7 is a private address, which nobody outside can reach.',
  );
  const self = await failureOf(host.verify('https://127.0.0.1/x', ref, signal));
  expect(self.message).toContain('127.0.0.1 is this machine');
  expect(self.code).toBe('ARTIFACT_UNSUITABLE');
});

test('a host that answers 5xx, cannot be reached or has an unknown certificate is unavailable', async () => {
  const server = await serve((_request, response) => response.writeHead(503).end());
  const { file, ref } = await newFile(Buffer.from('x'));
  const host = hostAt(server);
  for (const attempt of [
    () => host.publish(file, ref, signal),
    () => host.verify(`${server.url}/x`, ref, signal),
    () => host.verify('https://127.0.0.1:1/x', ref, signal),
    () => hostAt(server, { publishCaFile: null }).verify(`${server.url}/x`, ref, signal),
  ]) {
    expect((await failureOf(attempt())).code).toBe('ARTIFACT_HOST_UNAVAILABLE');
  }
});

test('an error page that is longer than a small artifact is an outage, not another artifact', async () => {
  const server = await serve((_request, response) =>
    response.writeHead(503).end('<html>We are back in a minute.</html>'.repeat(20)),
  );
  const { ref } = await newFile(Buffer.from('x'));
  const failure = await failureOf(hostAt(server).verify(`${server.url}/x`, ref, signal));
  expect(failure.code).toBe('ARTIFACT_HOST_UNAVAILABLE');
  expect(failure.message).toBe(`${server.url}/x answered 503.`);
});

test('a page of a proxy in place of the artifact is an outage, not another artifact', async () => {
  const server = await serve((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>Soon!'),
  );
  const { ref } = await newFile(Buffer.from('x'));
  const failure = await failureOf(hostAt(server).verify(`${server.url}/x`, ref, signal));
  expect(failure.code).toBe('ARTIFACT_HOST_UNAVAILABLE');
  expect(failure.message).toBe(`${server.url}/x answered with a web page.`);
});

test('an artifact that is served as a page is what its bytes are', async () => {
  const server = await serve((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('x'),
  );
  const { ref } = await newFile(Buffer.from('x'));
  await hostAt(server).verify(`${server.url}/x`, ref, signal);
});

test('an upload that was answered with 200 and is not there is to be done again', async () => {
  const server = await serve((request, response) =>
    response.writeHead(request.method === 'PUT' ? 200 : 404).end(),
  );
  const { file, ref } = await newFile(Buffer.from('x'));
  const host = hostAt(server);
  const uri = await host.publish(file, ref, signal);
  for (const attempt of [
    () => host.verifyUpload(uri, ref, signal),
    () => host.checkWritable(signal),
  ]) {
    expect((await failureOf(attempt())).code).toBe('ARTIFACT_HOST_UNAVAILABLE');
  }
  // Later it is gone, which no other upload explains.
  expect((await failureOf(host.verify(uri, ref, signal))).code).toBe('ARTIFACT_UNSUITABLE');
});

test('a user or password in the place to publish is refused, and not shown', async () => {
  const host = hostAt(storage, { publishUrl: 'https://miner:hunter2@storage.example.org/x' });
  const failure = await failureOf(host.checkWritable(signal));
  expect(failure.code).toBe('SETTING_INVALID');
  expect(failure.message).toBe(
    'The place to publish at storage.example.org must not hold a user or a password.',
  );
});

test('an upload that is refused says so and does not show the token', async () => {
  await writeFile(storage.tokenFile, 'wrong-token');
  const { file, ref } = await newFile(Buffer.from('x'));
  const failure = await failureOf(hostAt(storage).publish(file, ref, signal));
  expect(failure.code).toBe('ARTIFACT_UNSUITABLE');
  expect(failure.message).toBe(`${storage.url}/${ref.sha256} refused the upload with 401: "who?".`);
  expect(failure.hint).toBe('Check ADIT_PUBLISH_TOKEN_FILE, then answer with `adit decide`.');
  expect(`${failure.message}${failure.hint}`).not.toContain('wrong-token');
});

test('an upload that is refused before its bytes are read is told from a lost connection', async () => {
  const server = await serve((_request, response) => response.writeHead(401).end('who?'));
  const { file, ref } = await newFile(Buffer.alloc(20_000_000));
  const failure = await failureOf(hostAt(server).publish(file, ref, signal));
  expect(failure.code).toBe('ARTIFACT_UNSUITABLE');
  expect(failure.message).toMatch(/refused the upload with 401: "who\?"\.$/);
});

test('the token file is read at use', async () => {
  const host = hostAt(storage);
  const { file, ref } = await newFile(Buffer.from('x'));
  await writeFile(storage.tokenFile, 'wrong-token');
  await failureOf(host.publish(file, ref, signal));
  await writeFile(storage.tokenFile, STORAGE_TOKEN);
  await host.publish(file, ref, signal);
});

test.each([
  [null, 'No place to publish artifacts is set.'],
  [
    'http://127.0.0.1:1',
    'Artifacts cannot be published to http://127.0.0.1:1: it must be an https address without query.',
  ],
  [
    'https://example.org/?sig=secret',
    'Artifacts cannot be published to https://example.org/: it must be an https address without query.',
  ],
])('publishing to %s is a matter of settings', async (publishUrl, message) => {
  const host = createArtifactHost({
    publishUrl,
    publishCaFile: null,
    publishTokenFile: null,
    coordinatorUrl: null,
  });
  const failure = await failureOf(host.checkWritable(signal));
  expect(failure.code).toBe(publishUrl === null ? 'SETTING_MISSING' : 'SETTING_INVALID');
  expect(failure.message).toBe(message);
});

test('a token or certificate file that cannot be read, or an empty token, is named', async () => {
  const { file, ref } = await newFile(Buffer.from('x'));
  const missing = path.join(folder, 'nothing');
  const failure = await failureOf(
    hostAt(storage, { publishTokenFile: missing }).publish(file, ref, signal),
  );
  expect(failure.message).toBe(`${missing}, of setting publishTokenFile, cannot be read (ENOENT).`);
  await writeFile(storage.tokenFile, '\n');
  const empty = await failureOf(hostAt(storage).publish(file, ref, signal));
  expect(empty.message).toBe('The file of setting publishTokenFile holds no token.');
});

test('an upload that is aborted throws the reason', async () => {
  const abort = new AbortController();
  const server = await serve((request) => {
    request.once('data', () => abort.abort(new Error('cancelled by a person')));
  });
  const { file, ref } = await newFile(Buffer.alloc(1_000_000));
  await expect(hostAt(server).publish(file, ref, abort.signal)).rejects.toThrow(
    'cancelled by a person',
  );
});
