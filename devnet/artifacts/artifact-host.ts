/**
 * The artifact host: files under plain names, written by whoever has the token, read by anybody,
 * over https and without redirects, as a validator demands (protocol 4.4).
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import fastify, { type FastifyInstance } from 'fastify';
import { installCounters, type RequestCounters } from '../service/counters.js';
import { installFaults, type FaultPlan } from '../service/faults.js';
import type { Certificate } from './certificate.js';

/** A name is a file's name as it is: no folders, no leading dot. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** An answer of `{"detail": …}` with this status. */
class HostProblem extends Error {
  readonly statusCode: number;
  constructor(statusCode: number, message: string) {
    super(message);
    this.name = 'HostProblem';
    this.statusCode = statusCode;
  }
}

interface ByName {
  Params: { name: string };
}

export async function createArtifactHost(parts: {
  folder: string;
  certificate: Certificate;
  token: string;
  mostBytes: number;
  faults: FaultPlan;
  counters: RequestCounters;
}): Promise<FastifyInstance> {
  const { folder, mostBytes } = parts;
  const incoming = path.join(folder, '.incoming');
  await rm(incoming, { recursive: true, force: true });
  await mkdir(incoming, { recursive: true });
  const app: FastifyInstance = fastify({
    https: { key: parts.certificate.key, cert: parts.certificate.cert },
    // The stream is counted as it is written.
    bodyLimit: mostBytes,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => {
    done(null, payload);
  });
  installCounters(app, 'artifacts', parts.counters);
  installFaults(app, 'artifacts', parts.faults);
  app.setErrorHandler(async (error, _request, reply) => {
    const statusCode =
      error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
        ? error.statusCode
        : 500;
    await reply
      .code(statusCode)
      .send({ detail: error instanceof Error ? error.message : 'failed' });
  });
  app.setNotFoundHandler(async (_request, reply) => {
    await reply.code(404).send({ detail: 'Not Found' });
  });

  app.put<ByName>('/:name', async (request, reply) => {
    assertToken(parts.token, request.headers.authorization);
    const file = fileOf(folder, request.params.name);
    if (Number(request.headers['content-length'] ?? 0) > mostBytes) throw tooLarge(mostBytes);
    const existed = (await sizeOf(file)) !== null;
    const body = request.body instanceof Readable ? request.body : Readable.from([]);
    const stored = await store(body, path.join(incoming, randomUUID()), mostBytes);
    await rename(stored.file, file);
    await reply
      .code(existed ? 200 : 201)
      .send({ sha256: stored.sha256, size_bytes: stored.sizeBytes });
  });
  app.route<ByName>({
    method: ['GET', 'HEAD'],
    url: '/:name',
    handler: async (request, reply) => {
      const file = fileOf(folder, request.params.name);
      const sizeBytes = await sizeOf(file);
      if (sizeBytes === null) throw new HostProblem(404, `no artifact ${request.params.name}`);
      reply.type('application/octet-stream').header('content-length', sizeBytes);
      return reply.send(request.method === 'HEAD' ? undefined : createReadStream(file));
    },
  });
  return app;
}

/** Removes what the host of this folder has; what is being written stays. */
export async function emptyArtifacts(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (NAME.test(name)) await rm(path.join(folder, name), { force: true });
  }
}

function assertToken(token: string, header: string | undefined): void {
  const given = Buffer.from(header ?? '');
  const wanted = Buffer.from(`Bearer ${token}`);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
    throw new HostProblem(401, 'missing or wrong bearer token');
  }
}

function fileOf(folder: string, name: string): string {
  if (!NAME.test(name))
    throw new HostProblem(400, 'a name has letters, digits, dots, dashes and underscores only');
  return path.join(folder, name);
}

async function sizeOf(file: string): Promise<number | null> {
  try {
    const found = await stat(file);
    return found.isFile() ? found.size : null;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

async function store(
  body: Readable,
  file: string,
  mostBytes: number,
): Promise<{ file: string; sha256: string; sizeBytes: number }> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const handle = await open(file, 'wx', 0o644);
  try {
    for await (const chunk of body) {
      const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
      sizeBytes += bytes.length;
      if (sizeBytes > mostBytes) throw tooLarge(mostBytes);
      hash.update(bytes);
      await handle.writeFile(bytes);
    }
    await handle.sync();
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  return { file, sha256: hash.digest('hex'), sizeBytes };
}

function tooLarge(mostBytes: number): HostProblem {
  return new HostProblem(413, `an artifact has at most ${mostBytes} bytes`);
}
