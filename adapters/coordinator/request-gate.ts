/**
 * One gate for all requests of a worker to its coordinator: an outage does not turn a hundred runs into a storm.
 *
 *   open ── outage ──► closed until a time, which doubles ── then ──► one request goes first ── answered ──► open
 *     └──── 429 ─────► closed as long as the coordinator asks for ───┘        └── outage ──► closed, longer
 *
 * Invariants:
 * 1. At most `atOnce` requests are under way, also while nothing is known to be wrong.
 * 2. While it is closed nothing is sent; a short wait is waited here, a longer one is refused with `retryAfterMs`.
 * 3. After a closed time one request goes alone; what it meets decides for all that wait.
 *
 * Its own: the circuit breakers that are well kept (opossum, cockatiel) wrap a function and neither take a time to
 * wait from a reply nor hold callers back, and the queues (p-limit, bottleneck) know no outage; joining two of them
 * would be longer than this.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { StepError } from '../../core/error.js';

export interface RequestGate {
  /** Runs `request` when the gate lets it pass. Throws COORDINATOR_UNAVAILABLE, unsent. */
  pass<Reply>(request: () => Promise<Reply>, signal: AbortSignal): Promise<Reply>;
  /** An answered request: nothing is wrong. */
  answered(): void;
  /** No answer, or a fault of the server. `message` says what happened. */
  outage(message: string): void;
  rateLimited(message: string, waitMs: number): void;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 60_000;
const AT_ONCE = 8;
/** Longer waits are the interpreter's: a step that waits here shows nothing. */
const LONGEST_HERE_MS = 5_000;

interface Closed {
  readonly why: 'outage' | 'rateLimit';
  readonly untilMs: number;
  readonly message: string;
}

/** `now` is a clock that nobody sets: milliseconds since whenever. */
export function createRequestGate({
  atOnce = AT_ONCE,
  now = () => performance.now(),
} = {}): RequestGate {
  let closed: Closed | null = null;
  let outages = 0;
  let underWay = 0;
  let waiting: (() => void)[] = [];

  const wakeAll = (): void => {
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  const mayGo = (): boolean => (closed === null ? underWay < atOnce : underWay === 0);

  async function enter(signal: AbortSignal): Promise<void> {
    const sinceMs = now();
    for (;;) {
      signal.throwIfAborted();
      const waitMs = closed === null ? 0 : closed.untilMs - now();
      if (closed !== null && waitMs + now() - sinceMs > LONGEST_HERE_MS)
        throw refusal(closed, waitMs);
      if (waitMs > 0)
        await sleep(waitMs, undefined, { signal }).catch(() => signal.throwIfAborted());
      else if (mayGo()) break;
      else await changed(signal);
    }
    underWay += 1;
  }

  async function changed(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        signal.removeEventListener('abort', wake);
        resolve();
      };
      waiting.push(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  function close(next: Closed): void {
    // Of two reasons to wait the longer one holds.
    if (closed === null || next.untilMs > closed.untilMs) closed = next;
  }

  return {
    async pass(request, signal) {
      await enter(signal);
      try {
        return await request();
      } finally {
        underWay -= 1;
        wakeAll();
      }
    },
    answered() {
      // An answer says nothing about how long a rate limit lasts.
      if (closed?.why === 'rateLimit' && closed.untilMs > now()) return;
      closed = null;
      outages = 0;
    },
    outage(message) {
      // Requests that were under way together met one outage, not several.
      if (closed !== null && closed.untilMs > now()) return;
      const waitMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** outages);
      outages += 1;
      close({
        why: 'outage',
        untilMs: now() + waitMs * (0.75 + Math.random() / 2),
        message,
      });
    },
    rateLimited(message, waitMs) {
      close({ why: 'rateLimit', untilMs: now() + waitMs, message });
    },
  };
}

function refusal({ message }: Closed, waitMs: number): StepError {
  const at = new Date(Date.now() + waitMs).toISOString();
  return new StepError(
    'COORDINATOR_UNAVAILABLE',
    `The coordinator is not asked before ${at}: ${message}`,
    {
      hint: 'Nothing was sent. All runs of this worker wait together, so that they make no storm.',
      // Those that wait must not all come back in the same moment.
      retryAfterMs: Math.round(Math.max(1_000, waitMs) * (1 + Math.random() * 0.25)),
    },
  );
}
