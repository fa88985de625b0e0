import type { DevnetDatabase } from './database.js';

/** The devnet's own time: the machine's, plus what it was advanced by. It goes back only when everything begins anew. */
export interface DevnetClock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** How far it is ahead of the machine, in seconds. */
  offsetSeconds(): number;
  advance(seconds: number): void;
  /** The machine's time again. */
  reset(): void;
}

/** The clock kept in the database: a restart does not lose what it was advanced by. */
export function createClock(database: DevnetDatabase): DevnetClock {
  const offsetSeconds = (): number => {
    const stored = database.readValue('clock_offset_seconds');
    return typeof stored === 'number' ? stored : 0;
  };
  return {
    nowMs: () => Date.now() + offsetSeconds() * 1_000,
    offsetSeconds,
    advance: (seconds) => {
      if (!Number.isFinite(seconds) || seconds < 0)
        throw new RangeError(`cannot advance by ${seconds} seconds`);
      database.writeValue('clock_offset_seconds', offsetSeconds() + seconds);
    },
    reset: () => {
      database.writeValue('clock_offset_seconds', 0);
    },
  };
}

/** UTC with microseconds and `Z`, as the live service writes times (protocol 2.5). */
export function toTimestamp(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
