import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createRequestCounters } from '../service/counters.js';
import { createFaultPlan } from '../service/faults.js';
import { createArtifactHost } from './artifact-host.js';
import { ensureCertificate, type Certificate } from './certificate.js';

const MOST_BYTES = 1_000_000;

let home: string;
let certificate: Certificate;
let host: FastifyInstance;
let url: string;

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'adit-artifacts-'));
  certificate = await ensureCertificate(home);
  host = await createArtifactHost({
    folder: path.join(home, 'artifacts'),
    certificate,
    token: 'the token',
    mostBytes: MOST_BYTES,
    faults: createFaultPlan(),
    counters: createRequestCounters(),
  });
  url = await host.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(async () => {
  await host.close();
  await rm(home, { recursive: true, force: true });
});

interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

async function call(
  method: string,
  name: string,
  options: { body?: Buffer; token?: string; ca?: string | null; chunked?: boolean } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(
      `${url}/${name}`,
      {
        method,
        agent: false,
        ...(options.ca === null ? {} : { ca: options.ca ?? certificate.cert }),
        headers: {
          ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
          ...(options.body === undefined || options.chunked
            ? {}
            : { 'content-length': options.body.length }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks),
          });
        });
      },
    );
    sent.on('error', reject);
    sent.end(options.body);
  });
}

describe('the artifact host', () => {
  it('gives back what was put, with its length and without a redirect', async () => {
    const body = randomBytes(300_000);
    const put = await call('PUT', 'model-1.zip', { body, token: 'the token' });
    expect([put.status, JSON.parse(put.body.toString())]).toEqual([
      201,
      { sha256: createHash('sha256').update(body).digest('hex'), size_bytes: body.length },
    ]);
    const got = await call('GET', 'model-1.zip');
    expect([got.status, got.headers['content-length']]).toEqual([200, '300000']);
    expect(got.body.equals(body)).toBe(true);
    const head = await call('HEAD', 'model-1.zip');
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([
      200,
      '300000',
      0,
    ]);
    expect(
      (await call('PUT', 'model-1.zip', { body: Buffer.from('other'), token: 'the token' })).status,
    ).toBe(200);
    expect((await call('GET', 'model-1.zip')).body.toString()).toBe('other');
  });

  it('takes nothing without the token, under a bad name or beyond its limit', async () => {
    const body = Buffer.from('x');
    expect((await call('PUT', 'a', { body })).status).toBe(401);
    expect((await call('PUT', 'a', { body, token: 'another' })).status).toBe(401);
    for (const name of ['.hidden', '..%2f..%2fescape', 'a%2fb', 'x'.repeat(200)]) {
      expect((await call('PUT', name, { body, token: 'the token' })).status).toBeGreaterThanOrEqual(
        400,
      );
    }
    const large = Buffer.alloc(MOST_BYTES + 1);
    expect(
      (await call('PUT', 'large', { body: large, token: 'the token', chunked: true })).status,
    ).toBe(413);
    expect(await readdir(path.join(home, 'artifacts'))).toEqual(['.incoming']);
    expect(await readdir(path.join(home, 'artifacts', '.incoming'))).toEqual([]);
    expect((await call('GET', 'large')).status).toBe(404);
  });

  it('is trusted through its certificate alone, which stays the same', async () => {
    await expect(call('GET', 'a', { ca: null })).rejects.toThrow(/self-signed certificate/);
    expect(await ensureCertificate(home)).toEqual(certificate);
    expect((await stat(path.join(home, 'artifacts-key.pem'))).mode & 0o777).toBe(0o600);
  });
});
