/** What came to pass on the devnet, in order, one line of JSON each: it outlives the devnet, and the next one goes on with it. */
import { closeSync, openSync, writeSync } from 'node:fs';

export interface Journal {
  write(line: object): void;
  close(): void;
}

/** Appends to the file; null: nothing is written. */
export function openJournal(file: string | null): Journal {
  if (file === null) return { write: () => {}, close: () => {} };
  const descriptor = openSync(file, 'a', 0o600);
  return {
    // At once: whoever reads it may end the devnet because of this very line.
    write: (line) => {
      writeSync(descriptor, `${JSON.stringify({ atMs: Date.now(), ...line })}\n`);
    },
    close: () => closeSync(descriptor),
  };
}
