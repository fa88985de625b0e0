/** The time limit of a `finally`: of one `try`, or among the `defaults` of a file. */
import type { MapReader } from './read-map.js';

/** For a `finally` of which nobody says how long it may take. */
export const FINALLY_TIMEOUT_MS = 30 * 60 * 1_000;

const KEY = 'finally_timeout';

/** A server takes no timer without an end. */
const LONGEST = { ms: 30 * 24 * 60 * 60 * 1_000, text: '30d' };

export function parseFinallyTimeout(reader: MapReader): { readonly finallyTimeoutMs?: number } {
  const finallyTimeoutMs = reader.duration(KEY, LONGEST);
  return finallyTimeoutMs === undefined ? {} : { finallyTimeoutMs };
}

/** As `parseFinallyTimeout`, for a `try`: without `finally` there is nothing that the limit could be for. */
export function parseTryTimeout(reader: MapReader): { readonly finallyTimeoutMs?: number } {
  const node = reader.get(KEY);
  if (node !== undefined && !reader.has('finally') && !reader.isReported('finally')) {
    reader.invalid(node, `\`${KEY}\` is for a \`finally\`, and there is none`, 'remove it');
    return {};
  }
  return parseFinallyTimeout(reader);
}
