/**
 * Shell-style matching exactly as Python's `fnmatch.fnmatchcase` does it, which is what the
 * validator uses (protocol 4.3): anchored at both ends, `*` crosses `/`, no escape character.
 *
 * Own matcher instead of a translation to a regular expression: patterns come from outside, and this
 * one takes at most (length of name) x (length of pattern) steps.
 */

type Token =
  | { readonly kind: 'many' }
  | { readonly kind: 'one' }
  | { readonly kind: 'never' }
  | { readonly kind: 'literal'; readonly char: string }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly Range[] };

/** First and last code point, both included. */
type Range = readonly [number, number];

/** True when the whole `name` matches `pattern`. */
export function fnmatch(name: string, pattern: string): boolean {
  const chars = Array.from(name);
  const tokens = parsePattern(pattern);
  let at = 0;
  let token = 0;
  // Where the last `*` stood and how far it has swallowed: the only place worth going back to.
  let starToken = -1;
  let starAt = 0;
  while (at < chars.length) {
    const current = tokens[token];
    const char = chars[at] as string;
    if (current?.kind === 'many') {
      starToken = token;
      starAt = at;
      token += 1;
    } else if (current !== undefined && matchesOne(current, char)) {
      token += 1;
      at += 1;
    } else if (starToken >= 0) {
      starAt += 1;
      at = starAt;
      token = starToken + 1;
    } else {
      return false;
    }
  }
  while (tokens[token]?.kind === 'many') token += 1;
  return token === tokens.length;
}

function matchesOne(token: Token, char: string): boolean {
  if (token.kind === 'one') return true;
  if (token.kind === 'literal') return token.char === char;
  if (token.kind !== 'class') return false;
  const code = codeOf(char);
  return token.ranges.some(([first, last]) => first <= code && code <= last) !== token.negated;
}

function parsePattern(pattern: string): Token[] {
  const chars = Array.from(pattern);
  const tokens: Token[] = [];
  let at = 0;
  while (at < chars.length) {
    const char = chars[at] as string;
    at += 1;
    if (char === '*') {
      if (tokens.at(-1)?.kind !== 'many') tokens.push({ kind: 'many' });
    } else if (char === '?') {
      tokens.push({ kind: 'one' });
    } else if (char === '[') {
      const end = endOfClass(chars, at);
      if (end < 0) {
        tokens.push({ kind: 'literal', char: '[' });
      } else {
        tokens.push(parseClass(chars.slice(at, end)));
        at = end + 1;
      }
    } else {
      tokens.push({ kind: 'literal', char });
    }
  }
  return tokens;
}

/** Index of the `]` that closes a class whose content begins at `start`; -1 when none does. */
function endOfClass(chars: readonly string[], start: number): number {
  let at = start;
  if (chars[at] === '!') at += 1;
  if (chars[at] === ']') at += 1;
  while (at < chars.length && chars[at] !== ']') at += 1;
  return at < chars.length ? at : -1;
}

/** Cuts the content of a class at the hyphens that make ranges, as CPython does, empty ranges left out. */
function parseClass(content: readonly string[]): Token {
  const chunks: string[][] = [];
  if (content.includes('-')) {
    let from = 0;
    let search = content[0] === '!' ? 2 : 1;
    for (;;) {
      const hyphen = content.indexOf('-', search);
      if (hyphen < 0) break;
      chunks.push(content.slice(from, hyphen));
      from = hyphen + 1;
      search = hyphen + 3;
    }
    const rest = content.slice(from);
    if (rest.length > 0) chunks.push(rest);
    else chunks.at(-1)?.push('-');
    for (let k = chunks.length - 1; k > 0; k -= 1) {
      const left = chunks[k - 1] as string[];
      const right = chunks[k] as string[];
      if (codeOf(left.at(-1)) > codeOf(right[0])) {
        chunks.splice(k - 1, 2, [...left.slice(0, -1), ...right.slice(1)]);
      }
    }
  } else {
    chunks.push([...content]);
  }
  const first = chunks[0] as string[];
  if (chunks.length === 1 && first.length === 0) return { kind: 'never' };
  if (chunks.length === 1 && first.length === 1 && first[0] === '!') return { kind: 'one' };
  const negated = first[0] === '!';
  if (negated) first.shift();
  const ranges: Range[] = [];
  chunks.forEach((chunk, k) => {
    const next = chunks[k + 1];
    chunk.forEach((char, index) => {
      // The first character of a later chunk closed the range before it.
      if (k > 0 && index === 0) return;
      const code = codeOf(char);
      const opensRange = next !== undefined && index === chunk.length - 1;
      ranges.push([code, opensRange ? codeOf(next[0]) : code]);
    });
  });
  return { kind: 'class', negated, ranges };
}

function codeOf(char: string | undefined): number {
  return char?.codePointAt(0) ?? -1;
}
