/** All that a command prints goes through here: results to stdout, everything about the way there to stderr. */
import pc from 'picocolors';
import { plainText } from '../core/plain-text.js';
import type { PrintedFailure } from './failure.js';

/** Colours only for a person at a terminal who did not refuse them (https://no-color.org). */
export function wantsColor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}

export const paint = pc.createColors(wantsColor(process.stdout, process.env));

/** A result for a person. Text from outside must be cleaned (`clean`, `cleanLines`) by the caller. */
export function print(text = ''): void {
  process.stdout.write(`${text}\n`);
}

/** The result for a program: one JSON document, and nothing else on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** A remark on the way: stderr, so that results can be piped. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Text from outside on one line: no terminal escapes, control characters or changes of direction. */
export function clean(text: string, maxLength = 500): string {
  return plainText(text, maxLength);
}

/** The same, keeping line breaks. */
export function cleanLines(text: string): string {
  return text
    .split('\n')
    .slice(0, 200)
    .map((line) => plainText(line, 2_000).trimEnd())
    .join('\n');
}

/** Prints a failure as the command promised: JSON on stdout, or the message and the way out on stderr. */
export function printFailure(failure: PrintedFailure, json: boolean): void {
  const { code, message, hint } = failure;
  if (json) {
    printJson({ error: { code, message, hint } });
    return;
  }
  const red = pc.createColors(wantsColor(process.stderr, process.env)).red;
  note(`${red('error:')} ${keepIndent(message)}`);
  if (hint !== '') note(keepIndent(hint));
}

/** A message may be a list; its indentation is ours, its words may be a stranger's. */
function keepIndent(text: string): string {
  return text
    .split('\n')
    .map((line) => `${/^ */.exec(line)?.[0] ?? ''}${plainText(line, 2_000)}`)
    .join('\n');
}
