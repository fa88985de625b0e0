/** A place that keeps what is PUT with a bearer token and serves it to anyone, over real https. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generate } from 'selfsigned';

export interface HttpsServer {
  /** `https://127.0.0.1:<port>`. */
  readonly url: string;
  /** PEM file of the authority that signed its certificate. */
  readonly caFile: string;
  close(): Promise<void>;
}

export interface HttpsStorage extends HttpsServer {
  readonly tokenFile: string;
  /** What is kept, by path: a test may change it. */
  readonly objects: Map<string, Buffer>;
  readonly requests: IncomingMessage[];
}

export const STORAGE_TOKEN = 'token-of-the-test';

/** Any https server with a certificate of its own for 127.0.0.1. */
export async function startHttpsServer(
  listener: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<HttpsServer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'adit-https-'));
  const pem = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] },
    ],
  });
  const caFile = path.join(folder, 'ca.pem');
  await writeFile(caFile, pem.cert);
  const server = createServer({ key: pem.private, cert: pem.cert }, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caFile,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function startHttpsStorage(): Promise<HttpsStorage> {
  const objects = new Map<string, Buffer>();
  const requests: IncomingMessage[] = [];
  const server = await startHttpsServer((request, response) => {
    requests.push(request);
    const name = request.url ?? '';
    if (request.method === 'PUT') {
      if (request.headers.authorization !== `Bearer ${STORAGE_TOKEN}`) {
        response.writeHead(401).end('who?');
        return;
      }
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        objects.set(name, Buffer.concat(chunks));
        response.writeHead(201).end();
      });
      return;
    }
    const object = objects.get(name);
    if (object === undefined) response.writeHead(404).end();
    else response.end(object);
  });
  const tokenFile = path.join(path.dirname(server.caFile), 'token');
  await writeFile(tokenFile, `${STORAGE_TOKEN}\n`);
  return { ...server, tokenFile, objects, requests };
}
