/** The side of the socket that asks: one connection to the process host of a state folder. */
import { open, readFile, type FileHandle } from 'node:fs/promises';
import { constants, lstatSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { errorMessage, isStepErrorCode, StepError, type ErrorReport } from '../core/error.js';
import {
  HOST_PROTOCOL_VERSION,
  type HostInfo,
  type HostMethod,
  type HostMethods,
  type ProgramEvent,
} from '../core/host-protocol.js';
import { plainText } from '../core/plain-text.js';
import { assertOurFolder, hostFolder } from './host-folder.js';
import { isMessage, readJsonLines, toLine, type Message } from './json-lines.js';

/** Longest answer; a listing of all programs is the longest there is. */
const MOST_REPLY_BYTES = 64 * 1024 * 1024;
const HANDSHAKE_MS = 10_000;

interface CallOptions {
  /** Aborted: the request is dropped, and the call rejects with its reason. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ProgramEvent) => void;
}

export interface HostClient {
  /** What the host said of itself when the connection was made. */
  readonly info: HostInfo;
  /** False once the connection is known to be broken. */
  readonly isOpen: boolean;
  /**
   * Rejects with the host's StepError, with HOST_UNAVAILABLE when the connection breaks, and with
   * `signal.reason` when aborted.
   */
  call<M extends HostMethod>(
    method: M,
    params: HostMethods[M]['params'],
    options?: CallOptions,
  ): Promise<HostMethods[M]['result']>;
  close(): void;
}

interface PendingCall {
  readonly onEvent: ((event: ProgramEvent) => void) | undefined;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/**
 * Connects to the host of a state folder; null when none listens. Throws HOST_UNUSABLE for somebody
 * else's socket or folder, another secret, and a host that is older than this client; HOST_UNAVAILABLE for one that
 * does not answer.
 */
export async function connectHost(stateDir: string): Promise<HostClient | null> {
  const folder = hostFolder(stateDir);
  const directory = await open(folder.root, constants.O_RDONLY | constants.O_DIRECTORY).catch(
    noneIfMissing,
  );
  if (directory === null) return null;
  try {
    assertOurFolder(folder.root, await directory.stat());
    const socket = await openSocket(directory, folder.root);
    if (socket === null) return null;
    try {
      const secret = (await readFile(folder.secret, 'utf8')).trim();
      return await shakeHands(socket, secret, folder.socket);
    } catch (error) {
      socket.destroy();
      throw error instanceof StepError ? error : unusable(folder.socket, errorMessage(error));
    }
  } finally {
    await directory.close();
  }
}

function noneIfMissing(error: unknown): null {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return null;
  throw new StepError('HOST_UNUSABLE', `The process host's folder: ${errorMessage(error)}`, {
    hint: 'It must be a directory of the user that runs Adit.',
    cause: error,
  });
}

function unusable(socket: string, why: string): StepError {
  return new StepError(
    'HOST_UNUSABLE',
    `What listens on ${socket} cannot be used as the process host: ${plainText(why, 300)}`,
    { hint: 'Stop whatever listens there, then start `adit host` with this build.' },
  );
}

/** Null when nobody listens. */
async function openSocket(directory: FileHandle, root: string): Promise<Socket | null> {
  // Through the open folder: the path of a socket may have 107 bytes at most.
  const address = `/proc/self/fd/${directory.fd}/socket`;
  const found = lstatSync(path.join(root, 'socket'), { throwIfNoEntry: false });
  if (found === undefined) return null;
  if (!found.isSocket() || found.uid !== process.geteuid?.()) {
    throw unusable(path.join(root, 'socket'), 'it is not a socket of this user.');
  }
  return new Promise((resolve, reject) => {
    const socket = connect(address);
    socket.once('connect', () => resolve(socket));
    // It stays: a host that is killed while the secret is read resets the connection, which is told by `close`.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // The last: it was killed before it took the connection.
      if (['ECONNREFUSED', 'ENOENT', 'ECONNRESET'].includes(error.code ?? '')) resolve(null);
      else reject(unusable(path.join(root, 'socket'), errorMessage(error)));
    });
  });
}

function shakeHands(socket: Socket, secret: string, name: string): Promise<HostClient | null> {
  // It was killed meanwhile, and `close` has come already.
  if (socket.destroyed) return Promise.resolve(null);
  return new Promise((resolve, reject) => {
    const pending = new Map<number, PendingCall>();
    let info: HostInfo | null = null;
    const timer = setTimeout(() => {
      // Frozen, or on a machine that swaps: it may answer later, and its programs go on.
      end(
        new StepError('HOST_UNAVAILABLE', `The process host on ${name} does not answer.`, {
          hint: 'It is stopped or very slow; `adit host` starts another only when this one has ended.',
        }),
      );
    }, HANDSHAKE_MS);
    const end = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
      for (const call of pending.values()) call.reject(error);
      pending.clear();
    };
    const onHello = (hello: Message): void => {
      clearTimeout(timer);
      if (isMessage(hello['error'])) {
        end(toError(hello['error']));
        return;
      }
      const isGreeting: boolean = typeof hello['adit'] === 'number' && isMessage(hello['host']);
      if (!isGreeting) {
        end(unusable(name, 'it does not speak the protocol.'));
        return;
      }
      info = hello['host'] as HostInfo;
      resolve(createClient(socket, info, pending));
    };
    readJsonLines(socket, {
      mostBytes: () => MOST_REPLY_BYTES,
      onValue(value) {
        if (info === null) onHello(value);
        else onReply(pending, value);
      },
      onBroken: (why) => end(unusable(name, why)),
    });
    socket.once('close', () => {
      // A host that just stops closes connections that it never answered.
      if (info === null) resolve(null);
      clearTimeout(timer);
      end(
        new StepError('HOST_UNAVAILABLE', 'The connection to the process host broke.', {
          hint: 'Its programs go on; they are followed again when it is back.',
        }),
      );
    });
    socket.write(toLine({ adit: HOST_PROTOCOL_VERSION, secret }));
  });
}

function onReply(pending: Map<number, PendingCall>, reply: Message): void {
  const id = Number(reply['id']);
  const call = pending.get(id);
  // Dropped before it was answered.
  if (call === undefined) return;
  if (reply['event'] !== undefined) {
    call.onEvent?.(reply['event'] as ProgramEvent);
    return;
  }
  pending.delete(id);
  if (reply['error'] === undefined) call.resolve(reply['result'] ?? {});
  else call.reject(toError(reply['error']));
}

function createClient(
  socket: Socket,
  info: HostInfo,
  pending: Map<number, PendingCall>,
): HostClient {
  let nextId = 1;
  return {
    info,
    get isOpen() {
      return !socket.destroyed;
    },
    call: (method, params, { signal, onEvent } = {}) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        if (socket.destroyed) {
          reject(new StepError('HOST_UNAVAILABLE', 'The connection to the process host broke.'));
          return;
        }
        const id = nextId;
        nextId += 1;
        const drop = (): void => {
          pending.delete(id);
          if (!socket.destroyed) socket.write(toLine({ id, drop: true }));
          reject(signal?.reason);
        };
        const settled = (): void => signal?.removeEventListener('abort', drop);
        pending.set(id, {
          onEvent,
          resolve(result) {
            settled();
            resolve(result as HostMethods[typeof method]['result']);
          },
          reject(error) {
            settled();
            reject(error);
          },
        });
        signal?.addEventListener('abort', drop, { once: true });
        socket.write(toLine({ id, method, params }));
      }),
    close: () => {
      socket.end();
      socket.destroy();
    },
  };
}

function toError(report: unknown): Error {
  const { code, message, hint } = report as ErrorReport;
  if (!isStepErrorCode(code)) return new Error(`The process host failed: ${message}`);
  return new StepError(code, message, hint === undefined ? {} : { hint });
}
