/** Values in YAML that stand there without the quotes that they need, and the document as if they had them. */
import { parseDocument, type Document } from 'yaml';
import type { Range } from './diagnostic.js';

/** Most syntax errors that are told; the rest mostly follow from the first. */
export const MAX_SYNTAX_ERRORS = 20;
/** Most characters that are read again with a value in quotes, in all: a large file is not read twenty times. */
const MAX_READ = 1_000_000;

/** A value that lacks its quotes. */
export interface Unquoted extends Range {
  /** Why it needs them. */
  readonly reason: string;
}

/**
 * The document, and the values that stand there without the quotes that they need. YAML loses its way at
 * the first of them, so each is read as if it were a quoted text of the same length.
 */
export function readDocument(text: string): {
  document: Document.Parsed;
  unquoted: readonly Unquoted[];
} {
  const unquoted: Unquoted[] = [];
  for (let readable = text; ;) {
    const document = parseDocument(readable, {
      version: '1.2',
      schema: 'core',
      merge: false,
      // Looked for while the tree is built: the library compares each key with each.
      uniqueKeys: false,
      strict: true,
      prettyErrors: false,
      logLevel: 'error',
    });
    const mayRead =
      unquoted.length < MAX_SYNTAX_ERRORS && (unquoted.length + 1) * text.length < MAX_READ;
    const found = mayRead ? unquotedIn(document, readable) : null;
    if (found === null) return { document, unquoted };
    unquoted.push(found);
    readable = `${readable.slice(0, found.start)}'${'x'.repeat(found.end - found.start - 2)}'${readable.slice(found.end)}`;
  }
}

function unquotedIn({ errors }: Document.Parsed, text: string): Unquoted | null {
  // YAML loses its way at the first of them: what is wrong stands among the first errors.
  for (const { code, pos } of errors.slice(0, MAX_SYNTAX_ERRORS)) {
    const line = code === 'BLOCK_AS_IMPLICIT_KEY' ? lineAt(text, pos[0]) : null;
    // `with: command: make` is a map on the wrong line; a value with blanks before its `: ` is a value.
    const value = line === null ? null : valueWithColon(line.rest);
    if (line !== null && value !== null && /[\w-]: +$/.test(line.before))
      return {
        start: pos[0],
        end: pos[0] + value.length,
        reason: 'a value with `: ` in it needs quotes',
      };
    if (code === 'UNEXPECTED_TOKEN' && text[pos[0]] === '[') {
      const bracketed = bracketedAt(text, pos[0]);
      if (bracketed !== null) return bracketed;
    }
    // The `$` alone is a text to YAML; what it cannot read is the `{` behind it.
    const start = pos[0] - 1;
    const found = /^\$\{\{[^}\n]*\}\}/.exec(text.slice(Math.max(0, start), start + 1_000))?.[0];
    if (found !== undefined)
      return {
        start,
        end: start + found.length,
        reason: 'inside `{ … }` and `[ … ]` an expression needs quotes',
      };
  }
  return null;
}

/** The value in `{ … }` that a `[` breaks off: `{ if: inputs.counts[0] > 1, … }`. */
function bracketedAt(text: string, offset: number): Unquoted | null {
  const before = lineAt(text, offset).before;
  const head = /[:,{[] *([\w.][^,:{}[\]]*)$/.exec(before)?.[1];
  const tail = /^\[[^\]\n]{0,200}\][^,{}\n]{0,200}?(?=\s*(?:[,}\n]|$))/.exec(
    text.slice(offset, offset + 500),
  )?.[0];
  if (head === undefined || tail === undefined) return null;
  const reason = 'inside `{ … }` a value with `[` in it needs quotes';
  return { start: offset - head.length, end: offset + tail.length, reason };
}

/** A text in the quotes that need the least change of it. */
export function quote(text: string): string {
  return text.includes("'") && !/["\\]/.test(text)
    ? `"${text}"`
    : `'${text.replaceAll("'", "''")}'`;
}

/** The value on the rest of a line that has a `: ` in it; null for what looks like a key, and for what has a form. */
function valueWithColon(rest: string): string | null {
  const comment = rest.indexOf(' #');
  const value = (comment === -1 ? rest : rest.slice(0, comment)).trimEnd();
  return /^(?:[\w-]+:|["'{[|>&*!])/.test(value) || !value.includes(': ') ? null : value;
}

/** A line, before and behind an offset in it; a long one only as far as a value can be. */
function lineAt(text: string, offset: number): { readonly before: string; readonly rest: string } {
  const before = text.slice(Math.max(0, offset - 200), offset);
  const piece = text.slice(offset, offset + 10_000);
  const end = piece.indexOf('\n');
  const rest = end === -1 ? piece : piece.slice(0, end);
  return { before: before.slice(before.lastIndexOf('\n') + 1), rest };
}
