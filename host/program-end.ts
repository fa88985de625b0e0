/** What is to be said of a program that has ended, from what its records say. */
import { constants } from 'node:os';
import type { ProgramEnd } from '../core/host-protocol.js';
import { decidedAt, type EndingRecord, type OwnerRecord } from './program-records.js';

/** The facts; nothing of the program's tree is left when they are read. */
export interface EndFacts {
  /** The status that the shim wrote. */
  readonly exit: { readonly code: number; readonly endedAtMs: number } | null;
  /** Why the host ended it; null when it did not. */
  readonly intent: EndingRecord | null;
  readonly owner: Pick<OwnerRecord, 'startedAtMs'>;
  readonly metrics: { readonly [name: string]: number };
  /** True when the kernel killed something on this machine for want of memory while the program ran. */
  readonly oomGrew: boolean;
  /** When it was last seen alive, where nobody saw it end; null: it ended just now. */
  readonly lastAliveAtMs: number | null;
}

export function toEnd({
  exit,
  intent,
  owner,
  metrics,
  oomGrew,
  lastAliveAtMs,
}: EndFacts): ProgramEnd {
  const endedAtMs = Math.round(exit?.endedAtMs ?? lastAliveAtMs ?? Date.now());
  const times = {
    startedAtMs: owner.startedAtMs,
    // A file's time may be a tick of the kernel's clock old: a limit that ended the program is used up all the same.
    // A clock that was set back must not make a negative run time.
    endedAtMs: Math.max(endedAtMs, decidedAt(intent), owner.startedAtMs),
  };
  const status = toStatus(exit?.code);
  if (intent !== null) {
    const { cause, reason } = intent;
    return { cause, ...status, ...(reason === undefined ? {} : { reason }), ...times, metrics };
  }
  if (exit === null) return { cause: 'lost', ...times, metrics };
  if (status.signal === undefined) return { cause: 'exited', ...status, ...times, metrics };
  const cause = status.signal === 'SIGKILL' && oomGrew ? 'outOfMemory' : 'signalled';
  return { cause, ...status, ...times, metrics };
}

/** The shell tells a signal as 128 + its number, so a program that exits so looks signalled. */
function toStatus(code: number | undefined): { readonly code?: number; readonly signal?: string } {
  if (code === undefined) return {};
  const signal = Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
  return signal === undefined ? { code } : { signal };
}
