/**
 * One shim, started ahead: what takes longest at the start of a program (a namespace, a session, a lock) is then
 * over when the program comes. A program with devices needs a shim of its own, which inherits their locks.
 */
import { statSync } from 'node:fs';
import { spareEntry } from './program-index.js';
import { startShim, type Shim, type ShimContext } from './shim-process.js';

export interface SpareShim {
  /** The spare, or one that is started now. Throws as `startShim`. */
  take(): Promise<Shim>;
  /** Starts the next spare now rather than soon: nobody waits for a start just then. */
  refill(): void;
  /** Ends the spare; there is no other. */
  close(): Promise<void>;
}

/** After a start its program has the processor first. */
const REFILL_AFTER_MS = 50;

export function createSpareShim(context: ShimContext): SpareShim {
  let spare: Shim | null = null;
  let starting: Promise<void> | null = null;
  let timer: NodeJS.Timeout | null = null;
  let isClosed = false;

  function refill(): void {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    if (isClosed || spare !== null || starting !== null) return;
    starting = startShim(context)
      .then(
        (shim) => {
          spare = shim;
        },
        // Whoever needs one starts it, and is told why that fails.
        () => {},
      )
      .finally(() => {
        starting = null;
      });
  }

  function isUsable({ child, tree }: Shim): boolean {
    if (child.exitCode !== null || child.signalCode !== null) return false;
    // The folder of the host may have been removed, and the entry with it.
    return statSync(spareEntry(context.index, tree.marker), { throwIfNoEntry: false })?.nlink === 1;
  }

  return {
    async take() {
      const shim = spare;
      spare = null;
      timer ??= setTimeout(refill, REFILL_AFTER_MS);
      timer.unref();
      if (shim !== null && isUsable(shim)) return shim;
      if (shim !== null) void shim.discard();
      return startShim(context);
    },
    refill,
    async close() {
      isClosed = true;
      if (timer !== null) clearTimeout(timer);
      await starting;
      await spare?.discard();
      spare = null;
    },
  };
}
