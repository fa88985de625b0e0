import { unwatchFile, watchFile } from 'node:fs';
import { toPrintedFailure, type ExitCode } from './failure.js';
import { listenForInterruption } from './interruption.js';
import { clean, note, printFailure } from './output.js';
import type { Tested } from './test-files.js';

/** Files are looked at so often, in milliseconds: an editor that replaces a file is seen too, and on any disk. */
const LOOK_EVERY_MS = 250;

/** Runs tests now and after each change of a file that they come from, until Ctrl-C. */
export async function watchTests(
  files: readonly string[],
  testOnce: () => Promise<Tested>,
): Promise<ExitCode> {
  const interruption = listenForInterruption(() => 'Watching has ended.');
  let watched: readonly string[] = files;
  let changed: (file: string) => void = () => {};
  const interrupted = new Promise<never>((_, reject) => {
    const { signal } = interruption;
    signal.addEventListener('abort', () => reject(signal.reason as Error));
  });
  interrupted.catch(() => {});
  const listeners = new Map<string, () => void>();
  const watch = (file: string): void => {
    if (listeners.has(file)) return;
    const listener = (): void => changed(file);
    listeners.set(file, listener);
    watchFile(file, { interval: LOOK_EVERY_MS }, listener);
  };
  try {
    for (;;) {
      const change = new Promise<string>((resolve) => {
        changed = resolve;
      });
      // From before they are read: a change while the tests run makes them run again.
      watched.forEach(watch);
      try {
        const tested = await testOnce();
        watched = [...new Set([...watched, ...tested.files])];
        watched.forEach(watch);
      } catch (error) {
        // A file that is away or half written is no end of watching.
        printFailure(toPrintedFailure(error), false);
      }
      note(`watching ${watched.length} files; Ctrl-C ends it`);
      note(`\n${clean(await Promise.race([change, interrupted]))} has changed`);
    }
  } finally {
    interruption.dispose();
    for (const [file, listener] of listeners) unwatchFile(file, listener);
  }
}
