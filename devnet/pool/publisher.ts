import type { Epochs } from './epochs.js';

/** Publishes an epoch a moment after something was accepted: the end of the Pool's window. */
export interface Publisher {
  /** Something may be outstanding. */
  wake(): void;
  close(): void;
}

/** `delaySeconds` is asked at each acceptance; null publishes nothing by itself. */
export function createPublisher(
  epochs: Epochs,
  delaySeconds: () => number | null,
  report: (epoch: number) => void,
): Publisher {
  let timer: NodeJS.Timeout | null = null;
  return {
    wake: () => {
      const delay = delaySeconds();
      // One that is set already also publishes what came since.
      if (delay === null || timer !== null) return;
      timer = setTimeout(() => {
        timer = null;
        const epoch = epochs.publish();
        if (epoch !== null) report(epoch);
      }, delay * 1_000);
    },
    close: () => {
      if (timer !== null) clearTimeout(timer);
    },
  };
}
