import type { Json } from './json.js';

/**
 * Parses JSON as Python's `json.loads` does: `NaN`, `Infinity` and `-Infinity` are accepted where a
 * value may stand (task-repositories section 6). Each becomes `{ "not a number": "NaN" }`, so that it is
 * still plain JSON and can never be taken for a number. Throws SyntaxError.
 */
export function parsePythonJson(text: string): Json {
  return JSON.parse(markNonFinite(text)) as Json;
}

const MARK = 'not a number';
const NON_FINITE = ['NaN', 'Infinity', '-Infinity'] as const;

/** `NaN`, `Infinity` or `-Infinity` for what `parsePythonJson` made of one; else null. */
export function nonFiniteName(value: Json): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const name = value[MARK];
  return typeof name === 'string' ? name : null;
}

/** One pass over the text, strings left alone: no regular expression, for the text may be 10 MiB of one string. */
function markNonFinite(text: string): string {
  const parts: string[] = [];
  let copied = 0;
  let at = 0;
  while (at < text.length) {
    const char = text[at];
    if (char === '"') {
      at = endOfString(text, at);
      continue;
    }
    const word =
      char === 'N' || char === 'I' || char === '-'
        ? NON_FINITE.find((name) => text.startsWith(name, at))
        : undefined;
    if (word === undefined) {
      at += 1;
      continue;
    }
    parts.push(text.slice(copied, at), JSON.stringify({ [MARK]: word }));
    at += word.length;
    copied = at;
  }
  parts.push(text.slice(copied));
  return parts.join('');
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}
