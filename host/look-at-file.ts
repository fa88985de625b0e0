/** Looks at files that lie where a program may write: it may have put a loop of links there, or taken the right to look. */
import { lstatSync, type Stats } from 'node:fs';

/** What is there, a link not followed; null for what is not there or cannot be looked at. Never throws. */
export function lookAtFile(file: string): Stats | null {
  try {
    return lstatSync(file, { throwIfNoEntry: false }) ?? null;
  } catch {
    return null;
  }
}
