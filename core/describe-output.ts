import { plainText } from './plain-text.js';

/** For hints: the last output of a program, and where all of it is. */
export function describeOutput(tail: string, log: string): string {
  const last = plainText(tail.slice(-400), 400);
  return `${last === '' ? 'It printed nothing.' : `Its last output: ${last}`} (all of it: ${log})`;
}
