/** Serves bare repositories by git's smart HTTP protocol, for reading only. */
import { spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { gitEnvironment } from './task-repository.js';

/** `git http-backend` never writes longer headers than these. */
const MOST_HEADER_BYTES = 16 * 1024;

/** An http server for the repositories `<root>/<name>.git`; `git http-backend` does the work. */
export function createGitServer(root: string): Server {
  return createServer((request, response) => {
    const url = request.url ?? '';
    const [path = '', query = ''] = url.split('?', 2);
    const service = query.match(/(?:^|&)service=([^&]*)/)?.[1];
    const reads =
      (request.method === 'GET' &&
        /^\/[a-z0-9-]+\.git\/info\/refs$/.test(path) &&
        service === 'git-upload-pack') ||
      (request.method === 'POST' && /^\/[a-z0-9-]+\.git\/git-upload-pack$/.test(path));
    if (reads) serve(root, { path, query }, request, response);
    else
      answer(
        response,
        path.endsWith('.git/info/refs') || path.endsWith('/git-receive-pack') ? 403 : 404,
      );
  });
}

function serve(
  root: string,
  url: { path: string; query: string },
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const header = (name: string): string => {
    const value = request.headers[name];
    return typeof value === 'string' ? value : '';
  };
  const backend = spawn('git', ['http-backend'], {
    env: {
      ...gitEnvironment(),
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: url.path,
      QUERY_STRING: url.query,
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: header('content-type'),
      CONTENT_LENGTH: header('content-length'),
      HTTP_CONTENT_ENCODING: header('content-encoding'),
      GIT_PROTOCOL: header('git-protocol'),
      REMOTE_ADDR: request.socket.remoteAddress ?? '',
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  // A client that goes away must not leave a process behind, nor a broken pipe end the devnet.
  response.on('close', () => backend.kill());
  backend.stdin.on('error', () => backend.kill());
  backend.on('error', () => {
    answer(response, 500);
  });
  request.pipe(backend.stdin);

  let head = Buffer.alloc(0);
  const readHead = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end === -1) {
      if (head.length > MOST_HEADER_BYTES) backend.kill();
      return;
    }
    backend.stdout.off('data', readHead);
    writeHead(response, head.subarray(0, end).toString('latin1'));
    response.write(head.subarray(end + 4));
    backend.stdout.pipe(response);
  };
  backend.stdout.on('data', readHead);
  backend.on('close', () => {
    if (!response.headersSent) answer(response, 500);
  });
}

function writeHead(response: ServerResponse, text: string): void {
  let statusCode = 200;
  for (const line of text.split('\r\n')) {
    const [, name = '', value = ''] = line.match(/^([^:]+):\s*(.*)$/) ?? [];
    if (name.toLowerCase() === 'status') statusCode = Number.parseInt(value, 10) || 500;
    else if (name !== '') response.setHeader(name, value);
  }
  response.writeHead(statusCode);
}

function answer(response: ServerResponse, statusCode: number): void {
  if (response.headersSent) {
    response.end();
    return;
  }
  response.writeHead(statusCode, { 'content-type': 'text/plain' });
  response.end(statusCode === 403 ? 'this repository is read-only\n' : `${statusCode}\n`);
}
