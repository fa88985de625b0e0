/** Who waits for devices: first come, first served, so that one who needs several is not passed for ever. */
import type { Devices } from './devices.js';
import type { FileHandleLike } from './lock.js';
import { StepError } from '../core/error.js';

export interface DeviceLease {
  readonly ids: readonly string[];
  /** Locks of the devices: handed to the shim, then closed here. */
  readonly locks: readonly FileHandleLike[];
}

export interface DeviceQueue {
  /**
   * Waits for `count` devices. Throws DEVICE_MISSING when there are not that many; `signal.reason` when aborted.
   * `onWaiting` is told what is waited for, each time that it changes.
   */
  lease(
    count: number,
    request: {
      readonly holder: string;
      readonly signal: AbortSignal;
      readonly onWaiting: (reason: string) => void;
    },
  ): Promise<DeviceLease>;
  /** Looks again at once: a program has ended. */
  nudge(): void;
}

/** Other hosts and strangers give back devices without telling us. */
const LOOK_EVERY_MS = 1_000;

export function createDeviceQueue(devices: Devices): DeviceQueue {
  const waiting: { readonly holder: string }[] = [];
  let wake: (() => void)[] = [];

  const nudge = (): void => {
    const all = wake;
    wake = [];
    for (const one of all) one();
  };

  const pause = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, LOOK_EVERY_MS);
      signal.addEventListener('abort', done, { once: true });
      wake.push(done);
    });

  return {
    nudge,
    async lease(count, { holder, signal, onWaiting }) {
      const total = await devices.total();
      if (count > total) {
        throw new StepError(
          'DEVICE_MISSING',
          `The step needs ${count} devices, and this host has ${total}.`,
          {
            hint: 'Ask for fewer with `on: { gpus }`, or name the devices of the host with `--gpus`.',
          },
        );
      }
      const place = { holder };
      waiting.push(place);
      let told = '';
      try {
        for (;;) {
          signal.throwIfAborted();
          let waitsFor = `${waiting[0]?.holder}, which waits for a device before it`;
          if (waiting[0] === place) {
            const lease = await devices.tryLease(count, holder);
            if ('ids' in lease) {
              if (!signal.aborted) return lease;
              await Promise.all(lease.locks.map((lock) => lock.close()));
              throw signal.reason;
            }
            waitsFor = lease.waitingFor;
          }
          if (waitsFor !== told) onWaiting(waitsFor);
          told = waitsFor;
          await pause(signal);
        }
      } finally {
        waiting.splice(waiting.indexOf(place), 1);
        nudge();
      }
    },
  };
}
