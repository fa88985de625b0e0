/**
 * One shim, started ahead: what takes longest at the start of a program (a namespace, a session, a lock) is then
 * over when the program comes. A program with devices needs a shim of its own, which inherits their locks.
 *
 * A spare sees the mounts as they were when it was started. When they change another one takes its place: the program
 * must see what is mounted now, and what is unmounted must not be kept.
 */
import { lookAtFile } from './look-at-file.js';
import { readProcFile } from './process-table.js';
import { spareEntry } from './program-index.js';
import { startShim, type Shim, type ShimContext } from './shim-process.js';

export interface SpareShim {
  /** The spare, or one that is started now. Throws as `startShim`. */
  take(): Promise<Shim>;
  /** Starts the next spare now rather than soon: nobody waits for a start just then. */
  refill(): void;
  /** Replaces a spare that is of no use any more; to be called now and then. */
  renew(): void;
  /** Ends the spare; there is no other. */
  close(): Promise<void>;
}

/** After a start its program has the processor first. */
const REFILL_AFTER_MS = 50;

interface Spare {
  readonly shim: Shim;
  /** Text of /proc/self/mountinfo before it was started. */
  readonly mounts: string;
}

export function createSpareShim(context: ShimContext): SpareShim {
  let spare: Spare | null = null;
  let starting: Promise<void> | null = null;
  let timer: NodeJS.Timeout | null = null;
  let isClosed = false;

  function refill(): void {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (isClosed || spare !== null || starting !== null) return;
    const mounts = readMounts();
    starting = startShim(context)
      .then(
        (shim) => {
          spare = { shim, mounts };
        },
        // Whoever needs one starts it, and is told why that fails.
        () => {},
      )
      .finally(() => {
        starting = null;
      });
  }

  function isUsable({ shim: { child, tree }, mounts }: Spare): boolean {
    if (child.exitCode !== null || child.signalCode !== null) return false;
    // The folder of the host may have been removed, and the entry with it.
    const entry = lookAtFile(spareEntry(context.index, tree.marker));
    return entry?.nlink === 1 && mounts === readMounts();
  }

  return {
    async take() {
      // Before another is started: it began earlier.
      if (spare === null) await starting;
      const found = spare;
      spare = null;
      timer ??= setTimeout(refill, REFILL_AFTER_MS);
      timer.unref();
      if (found !== null && isUsable(found)) return found.shim;
      void found?.shim.discard();
      return startShim(context);
    },
    refill,
    renew() {
      if (spare === null || isUsable(spare)) return;
      void spare.shim.discard();
      spare = null;
      refill();
    },
    async close() {
      isClosed = true;
      if (timer !== null) clearTimeout(timer);
      await starting;
      await spare?.shim.discard();
      spare = null;
    },
  };
}

function readMounts(): string {
  return readProcFile('/proc/self/mountinfo');
}
