import { StepError } from '../core/error.js';
import type { StepContext } from './step-type.js';

/** Refuses, with DISK_LOW, to begin something that writes much when less than `minFreeBytes` are free. */
export async function requireFreeDisk({ adapters }: StepContext): Promise<void> {
  const { minFreeBytes, stateDir } = adapters.settings;
  const free = await adapters.machine.freeBytes(stateDir);
  if (free >= minFreeBytes) return;
  throw new StepError(
    'DISK_LOW',
    `${stateDir} has ${free} bytes free; at least ${minFreeBytes} are needed.`,
    {
      hint: 'Free some space, or set ADIT_MIN_FREE_BYTES or ADIT_STATE_DIR.',
    },
  );
}
