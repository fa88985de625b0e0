import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { assertAllowedUrl, boundedFetch, HttpFailure } from './bounded-fetch.js';

const servers: Server[] = [];

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const bounds = { maxBodyBytes: 1_000_000, timeoutMs: 10_000 };

async function failureOf(promise: Promise<unknown>): Promise<HttpFailure> {
  const outcome: unknown = await promise.then(
    () => 'a reply',
    (error: unknown) => error,
  );
  if (!(outcome instanceof HttpFailure)) throw new Error(`no HttpFailure but ${String(outcome)}`);
  return outcome;
}

describe('boundedFetch', () => {
  it('sends method, headers and body as they are and returns the whole reply', async () => {
    const base = await serve((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => {
        response.writeHead(201, {
          'X-Seen': `${request.method} ${request.url} ${request.headers['x-hotkey']}`,
        });
        response.end(text);
      });
    });
    const reply = await boundedFetch(`${base}/a/b?c=d+e%2F`, {
      ...bounds,
      method: 'POST',
      headers: { 'X-Hotkey': '5Df' },
      body: '{"a":1}',
    });
    expect(reply).toMatchObject({ status: 201, headers: { 'x-seen': 'POST /a/b?c=d+e%2F 5Df' } });
    expect(reply.body.toString()).toBe('{"a":1}');
  });

  it('returns a reply of any status that is not a redirect', async () => {
    const base = await serve((_request, response) => response.writeHead(503).end('<html>'));
    expect(await boundedFetch(base, bounds)).toMatchObject({
      status: 503,
      body: Buffer.from('<html>'),
    });
  });

  it('says that nobody listens', async () => {
    const base = await serve(() => {});
    await new Promise((resolve) => servers.pop()?.close(resolve));
    expect(await failureOf(boundedFetch(`${base}/x?secret=1`, bounds))).toMatchObject({
      kind: 'unreachable',
      message: `${base}/x cannot be reached: the connection is refused (ECONNREFUSED).`,
    });
  });

  it('ends a request whose headers never come', async () => {
    const base = await serve(() => {});
    expect(await failureOf(boundedFetch(base, { ...bounds, timeoutMs: 200 }))).toMatchObject({
      kind: 'timeout',
      message: `${base}/ did not answer within 0.2 s.`,
    });
  });

  it('ends a request whose body never ends', async () => {
    const base = await serve((_request, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('.'), 10);
      response.on('close', () => clearInterval(timer));
    });
    expect((await failureOf(boundedFetch(base, { ...bounds, timeoutMs: 200 }))).kind).toBe(
      'timeout',
    );
  });

  it('does not follow a redirect, and names its target without control characters', async () => {
    let asked = 0;
    const base = await serve((_request, response) => {
      asked += 1;
      response.writeHead(302, { Location: '/elsewhere' }).end();
    });
    expect(await failureOf(boundedFetch(base, bounds))).toMatchObject({
      kind: 'redirect',
      message: `${base}/ answered 302, a redirect to /elsewhere; redirects are not followed.`,
    });
    expect(asked).toBe(1);
  });

  it('refuses a declared body that is too large before reading it', async () => {
    const base = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': 200_000_000 });
      response.write('x');
    });
    expect(await failureOf(boundedFetch(base, bounds))).toMatchObject({
      kind: 'too_large',
      message: `${base}/ answered with 200000000 bytes; at most 1000000 bytes are read.`,
    });
  });

  it('stops reading an undeclared body of 200 MB at the limit', async () => {
    let sentBytes = 0;
    const block = Buffer.alloc(64 * 1024, 'x');
    const base = await serve((_request, response) => {
      Readable.from(
        (function* () {
          while (sentBytes < 200_000_000) {
            sentBytes += block.length;
            yield block;
          }
        })(),
      ).pipe(response);
    });
    expect((await failureOf(boundedFetch(base, bounds))).kind).toBe('too_large');
    expect(sentBytes).toBeLessThan(50_000_000);
  });

  it('does not take a truncated body for a whole one', async () => {
    const base = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('half', () => response.socket?.destroy());
    });
    expect(await failureOf(boundedFetch(base, bounds))).toMatchObject({ kind: 'unreachable' });
  });

  it('does not take a truncated chunked body for a whole one', async () => {
    const base = await serve((_request, response) => {
      response.writeHead(200);
      response.write('half', () => response.socket?.destroy());
    });
    expect(await failureOf(boundedFetch(base, bounds))).toMatchObject({ kind: 'unreachable' });
  });

  it('throws the reason of its signal, not a failure', async () => {
    const base = await serve(() => controller.abort(new Error('cancelled by a person')));
    const controller = new AbortController();
    await expect(boundedFetch(base, { ...bounds, signal: controller.signal })).rejects.toThrow(
      'cancelled by a person',
    );
  });

  it('hands a large body over piece by piece', async () => {
    const base = await serve((_request, response) => response.end(Buffer.alloc(3_000_000)));
    let sizeBytes = 0;
    const reply = await boundedFetch(base, {
      timeoutMs: 10_000,
      maxBodyBytes: 3_000_000,
      onChunk: (chunk) => (sizeBytes += chunk.length),
    });
    expect(sizeBytes).toBe(3_000_000);
    expect(reply.body.length).toBe(0);
  });
});

describe('assertAllowedUrl', () => {
  it.each([
    'https://example.org/a',
    'http://127.0.0.1:8/a',
    'http://localhost/',
    'http://[::1]:9/',
  ])('allows %s', (address) => {
    expect(assertAllowedUrl(address).href).toContain('//');
  });

  it.each([
    [
      'http://example.org/a',
      'http://example.org is plain http, which is allowed to loopback only.',
    ],
    [
      'http://127.0.0.1.example.org/',
      'http://127.0.0.1.example.org is plain http, which is allowed to loopback only.',
    ],
    ['file:///etc/passwd', 'file addresses are not allowed, only https.'],
    [
      'https://user:word@example.org/',
      'The address of example.org must not hold a user or a password.',
    ],
    ['nonsense', '"nonsense" is not a URL.'],
  ])('refuses %s', (address, message) => {
    expect(() => assertAllowedUrl(address)).toThrow(message);
  });
});
