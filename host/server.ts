/**
 * The side of the socket that answers: one line asks, one line answers, and events between.
 *
 * A connection serves nobody before it has shown the secret. Whoever sends what is no message, or too long a one, is
 * cut off; a client that does not read costs a bounded amount of memory.
 */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { errorMessage, StepError, type ErrorReport } from '../core/error.js';
import {
  HOST_PROTOCOL_VERSION,
  type HostInfo,
  type HostMethod,
  type ProgramEvent,
} from '../core/host-protocol.js';
import { plainText } from '../core/plain-text.js';
import { readJsonLines, toLine, type Message } from './json-lines.js';

export interface RequestCaller {
  /** Aborted when the request is dropped or its connection breaks. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: ProgramEvent) => void;
}

export interface ServerOptions {
  readonly secret: string;
  readonly info: () => HostInfo;
  readonly answer: (method: HostMethod, params: Message, caller: RequestCaller) => Promise<unknown>;
  /** Told how many connections there are, whenever that changes. */
  readonly onConnections: (count: number) => void;
}

export interface HostServer {
  readonly server: Server;
  /** Cuts off everybody and listens no more. */
  close(): Promise<void>;
}

const MOST_HELLO_BYTES = 4 * 1024;
const MOST_REQUEST_BYTES = 16 * 1024 * 1024;
const HELLO_MS = 10_000;
/** Events are left out while so much is unread: the next one tells all that counts. */
const MOST_UNREAD_BYTES = 1024 * 1024;
/** A client that leaves so much unread is gone for good. */
const MOST_BEHIND_BYTES = 64 * 1024 * 1024;

const METHODS = new Set<string>([
  'run',
  'end',
  'endRun',
  'extend',
  'list',
  'info',
  'command',
  'shutdown',
] satisfies HostMethod[]);

export function createHostServer(options: ServerOptions): HostServer {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    options.onConnections(sockets.size);
    socket.once('close', () => {
      sockets.delete(socket);
      options.onConnections(sockets.size);
    });
    serveConnection(socket, options);
  });
  return {
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function serveConnection(socket: Socket, options: ServerOptions): void {
  const requests = new Map<number, AbortController>();
  let isKnown = false;
  const timer = setTimeout(() => socket.destroy(), HELLO_MS);
  timer.unref();
  const send = (message: object): void => {
    if (socket.destroyed) return;
    socket.write(toLine(message));
    if (socket.writableLength > MOST_BEHIND_BYTES) socket.destroy();
  };
  const refuse = (message: string, hint: string): void => {
    socket.end(toLine({ error: { code: 'HOST_UNUSABLE', message, hint } }));
  };

  function greet(hello: Message): void {
    const { adit, secret } = hello;
    if (typeof adit !== 'number' || !isSecret(secret, options.secret)) {
      refuse(
        'The process host does not know this client: its secret is another.',
        'Both must use the same state folder, as the same user.',
      );
      return;
    }
    if (adit > HOST_PROTOCOL_VERSION) {
      refuse(
        `The process host speaks version ${HOST_PROTOCOL_VERSION} of its protocol, this client version ${adit}.`,
        'Start the process host of the newer build: stop this one with TERM, which leaves its programs running.',
      );
      return;
    }
    isKnown = true;
    clearTimeout(timer);
    send({ adit: HOST_PROTOCOL_VERSION, host: options.info() });
  }

  async function serve(id: number, request: Message): Promise<void> {
    const controller = new AbortController();
    requests.set(id, controller);
    const caller: RequestCaller = {
      signal: controller.signal,
      onEvent(event) {
        if (requests.has(id) && socket.writableLength < MOST_UNREAD_BYTES) send({ id, event });
      },
    };
    try {
      const { method, params } = request;
      if (typeof method !== 'string' || !METHODS.has(method)) {
        throw new Error(`There is no method ${plainText(String(method), 40)}.`);
      }
      const result = await options.answer(method as HostMethod, (params ?? {}) as Message, caller);
      if (requests.has(id)) send({ id, result });
    } catch (error) {
      if (requests.has(id)) send({ id, error: toReport(error) });
    } finally {
      requests.delete(id);
    }
  }

  readJsonLines(socket, {
    mostBytes: () => (isKnown ? MOST_REQUEST_BYTES : MOST_HELLO_BYTES),
    onValue(message) {
      if (!isKnown) {
        greet(message);
        return;
      }
      const id = Number(message['id']);
      if (message['drop'] === true) {
        const dropped = requests.get(id);
        requests.delete(id);
        dropped?.abort(new Error('The request was dropped.'));
      } else if (!Number.isSafeInteger(id) || requests.has(id)) socket.destroy();
      else void serve(id, message);
    },
    onBroken: () => socket.destroy(),
  });
  socket.on('error', () => {});
  socket.once('close', () => {
    clearTimeout(timer);
    const open = [...requests.values()];
    requests.clear();
    for (const request of open) request.abort(new Error('The connection broke.'));
  });
}

function isSecret(shown: unknown, secret: string): boolean {
  if (typeof shown !== 'string') return false;
  const [a, b] = [Buffer.from(shown), Buffer.from(secret)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function toReport(error: unknown): ErrorReport {
  if (!(error instanceof StepError)) {
    return { code: 'INTERNAL', message: plainText(errorMessage(error), 500) };
  }
  const { code, message, hint } = error;
  return { code, message, ...(hint === undefined ? {} : { hint }) };
}
