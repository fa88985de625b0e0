/** One connection to the process host of this machine, opened when it is needed, and again when it broke. */
import { setTimeout as sleep } from 'node:timers/promises';
import { StepError } from '../../core/error.js';
import { connectHost, type HostClient } from '../../host/client.js';

export interface HostConnection {
  /**
   * The client of a host that answered. Throws HOST_UNAVAILABLE, HOST_UNUSABLE; `signal.reason` when aborted. The
   * host may be lost in the middle of a call all the same: the call then throws HOST_UNAVAILABLE.
   */
  client(signal?: AbortSignal): Promise<HostClient>;
  /** Closes what is open; whoever asks next connects anew. */
  drop(): void;
  /** For good: whoever asks afterwards, or waits, gets HOST_UNAVAILABLE. */
  close(): void;
}

const LONGEST_WAIT_MS = 30_000;
const POLL_MS = 100;

/** True for what is thrown when a host does not answer, or was lost in the middle of a call. */
export function isHostLost(error: unknown): boolean {
  return error instanceof StepError && error.code === 'HOST_UNAVAILABLE';
}

export function createHostConnection(options: {
  readonly stateDir: string;
  readonly startHost: (() => Promise<void>) | null;
}): HostConnection {
  const { stateDir, startHost } = options;
  let opening: Promise<HostClient> | null = null;
  /** What `opening` came to. */
  let opened: HostClient | null = null;
  let closed = false;

  async function open(): Promise<HostClient> {
    const givenUpAtMs = Date.now() + LONGEST_WAIT_MS;
    for (;;) {
      if (closed) throw closedError();
      const found = await connectHost(stateDir).catch((error: unknown) => {
        // One that is there and slow, as on a machine that swaps: it is waited for like one that starts.
        if (isHostLost(error) && startHost !== null) return null;
        throw error;
      });
      if (found !== null) return found;
      if (startHost === null) {
        throw new StepError('HOST_UNAVAILABLE', `No process host runs for ${stateDir}.`, {
          hint: 'A worker of this state folder starts one; so does `adit host`.',
        });
      }
      if (Date.now() > givenUpAtMs) {
        throw new StepError(
          'HOST_UNAVAILABLE',
          `The process host for ${stateDir} does not answer.`,
          {
            hint: `Its last words are in ${stateDir}/host/log. Programs that it had started go on.`,
          },
        );
      }
      await startHost();
      await sleep(POLL_MS);
    }
  }

  function begin(): Promise<HostClient> {
    const begun = open();
    begun.then(
      (client) => {
        if (opening === begun && !closed) opened = client;
        else client.close();
      },
      () => {
        // Whoever asks next opens it anew; those who wait for this one are told.
        if (opening === begun) opening = null;
      },
    );
    return begun;
  }

  function drop(): void {
    opened?.close();
    opened = null;
    opening = null;
  }

  return {
    client(signal) {
      if (closed) return Promise.reject(closedError());
      if (opened?.isOpen === false) drop();
      opening ??= begin();
      return unlessAborted(opening, signal);
    },
    drop,
    close() {
      // A connection that were opened after it would keep the worker from ending.
      closed = true;
      drop();
    },
  };
}

function closedError(): StepError {
  return new StepError('HOST_UNAVAILABLE', 'This worker is about to end: it asks no process host.');
}

/** The promise, or the reason of the abort when that comes first; the promise then goes on for others. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
