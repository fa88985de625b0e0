import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until `look` gives something that is neither false nor undefined, and returns it; an error names `what` was waited for. */
export async function until<T>(
  what: string,
  look: () => Promise<T | false | undefined> | T | false | undefined,
  timeoutMs = 90_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== false && found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`Waited ${timeoutMs} ms for: ${what}.`);
    await sleep(10);
  }
}
