/**
 * What an author must mend, and how it is shown: `file:line:column`, the line, a squiggle, the hint.
 * Lines and columns count from 1, columns in UTF-16 units; ends are exclusive.
 */

import { findSecretLiterals, type SecretLiteral } from './secret-literals.js';

/** Every kind of mistake and of warning. A code is public: programs that read `adit check --json` rely on it. */
export const DIAGNOSTIC_CODES = [
  'FILE_EMPTY',
  'FILE_TOO_LARGE',
  'FILE_NOT_TEXT',
  'YAML_SYNTAX',
  'YAML_DUPLICATE_KEY',
  'YAML_MERGE_KEY',
  'YAML_ALIAS',
  'YAML_TAG',
  'YAML_VERSION',
  'YAML_DOCUMENTS',
  'YAML_TOO_DEEP',
  'KEY_MISSING',
  'KEY_UNKNOWN',
  'VALUE_INVALID',
  'CONSTRUCT_UNSUPPORTED',
  'STEP_KIND',
  'STEP_TYPE_UNKNOWN',
  'ID_INVALID',
  'ID_RESERVED',
  'ID_DUPLICATE',
  'DURATION_INVALID',
  'ERROR_CODE_UNKNOWN',
  'CATCH_UNREACHABLE',
  'NEEDS_CYCLE',
  'PIPELINE_FILE',
  'PIPELINE_CYCLE',
  'PIPELINE_DEPTH',
  'INPUT_TYPE_UNKNOWN',
  'INPUT_DEFAULT',
  'STEP_INPUT_MISSING',
  'STEP_INPUT_UNKNOWN',
  'VALUE_TYPE',
  'EXPRESSION_SYNTAX',
  'EXPRESSION_TYPE',
  'EXPRESSION_UNSUPPORTED',
  'NAME_UNKNOWN',
  'MEMBER_UNKNOWN',
  'STEP_NOT_VISIBLE',
  'STEP_UNCERTAIN',
  'STEP_UNREACHABLE',
  'MEMBER_UNCERTAIN',
  'VERDICT_MISMATCH',
  'VERDICT_OUTDATED',
  'CLAIM_LEFT_OPEN',
  'CLAIM_UNCLEAR',
  'CLAIM_TOO_OLD',
  'INPUT_UNUSED',
  'CONDITION_CONSTANT',
  'CATCH_IDLE',
  'SECRET_LITERAL',
  'APPROVAL_ENDLESS',
  'INPUT_MISSING',
  'INPUT_UNKNOWN',
  'INPUT_INVALID',
  'PLAN_TOO_LARGE',
] as const;

export type DiagnosticCode = (typeof DIAGNOSTIC_CODES)[number];

export interface Diagnostic {
  readonly code: DiagnosticCode;
  readonly severity: 'error' | 'warning';
  /** What is wrong, with the names. */
  readonly message: string;
  /** The way out; empty when the message says it all. */
  readonly hint: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
}

/** Offsets into a source text, in UTF-16 units; the end is exclusive. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** A text with the places of its lines. */
export interface Source {
  /** Name as the author wrote it; shown before each place. */
  readonly file: string;
  readonly text: string;
  /** Offset of the first character of every line. */
  readonly lineStarts: readonly number[];
  /** What looks like a secret in the text: it is printed nowhere. */
  readonly secrets: readonly SecretLiteral[];
}

export function createSource(file: string, text: string): Source {
  const lineStarts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) {
    lineStarts.push(at + 1);
  }
  return { file, text, lineStarts, secrets: findSecretLiterals(text) };
}

/** Longest message, in characters: it can quote what the file holds. */
const MAX_MESSAGE = 2_000;

/** No name that anybody meant: its beginning and its end tell which it is. */
const LONG_WORD = /[^\s`]{200,}/g;

/** Collects diagnostics over one source; `list` gives them in source order. */
export class Diagnostics {
  readonly source: Source;
  #errors = 0;
  readonly #entries: { readonly range: Range; readonly diagnostic: Diagnostic }[] = [];
  /** What aliases stand for, by the places of the aliases. */
  readonly #repeats = new Map<string, Range>();

  constructor(source: Source) {
    this.source = source;
  }

  add(code: DiagnosticCode, range: Range, message: string, hint = ''): void {
    this.#put('error', code, range, message, hint);
  }

  /** What is likely no mistake of the pipeline's meaning, but of its author: the file still runs. */
  warn(code: DiagnosticCode, range: Range, message: string, hint = ''): void {
    this.#put('warning', code, range, message, hint);
  }

  #put(
    severity: Diagnostic['severity'],
    code: DiagnosticCode,
    range: Range,
    message: string,
    hint: string,
  ): void {
    const start = Math.min(range.start, this.source.text.length);
    const end = Math.min(Math.max(range.end, start), this.source.text.length);
    const from = placeOf(this.source, start);
    const to = placeOf(this.source, end);
    const diagnostic: Diagnostic = {
      code,
      severity,
      message: harmless(clip(this.#withoutSecrets(message, start, end))),
      hint: harmless(this.#withoutSecrets(hint, start, end)),
      file: this.source.file,
      line: from.line,
      column: from.column,
      endLine: to.line,
      endColumn: to.column,
    };
    this.#entries.push({ range: { start, end }, diagnostic });
    if (severity === 'error') this.#errors += 1;
  }

  /** A message says what stands at its place, so the secrets of those lines are the ones that it could hold. */
  #withoutSecrets(told: string, start: number, end: number): string {
    const { text, lineStarts } = this.source;
    const from = lineStarts[placeOf(this.source, start).line - 1] ?? 0;
    const to = lineStarts[placeOf(this.source, end).line] ?? text.length;
    return secretsBetween(this.source, from, to).reduce(
      (shown, { range }) => shown.replaceAll(text.slice(range.start, range.end), '[masked]'),
      told,
    );
  }

  /** The alias at `place` stands for what is written at `original`. */
  repeat(place: Range, original: Range): void {
    this.#repeats.set(`${place.start} ${place.end}`, original);
  }

  /** How many mistakes there are; warnings do not count. */
  get size(): number {
    return this.#errors;
  }

  /** Drops the diagnostics for which `keep` is false. */
  retain(keep: (diagnostic: Diagnostic, range: Range) => boolean): void {
    const kept = this.#entries.filter((entry) => keep(entry.diagnostic, entry.range));
    this.#entries.splice(0, this.#entries.length, ...kept);
    this.#errors = kept.filter(({ diagnostic }) => diagnostic.severity === 'error').length;
  }

  /**
   * In source order; what an alias repeats is told once, where it is written if it is a mistake there. What a mistake makes look idle is not: beside
   * mistakes only secrets are warned of.
   */
  list(): Diagnostic[] {
    const told = new Set<string>();
    const written = new Map<string, Range[]>();
    const originalOf = ({ start, end }: Range): Range | undefined =>
      this.#repeats.get(`${start} ${end}`);
    for (const { range, diagnostic } of this.#repeats.size === 0 ? [] : this.#entries) {
      if (originalOf(range) !== undefined) continue;
      const key = `${diagnostic.code} ${diagnostic.message}`;
      const ranges = written.get(key);
      if (ranges === undefined) written.set(key, [range]);
      else ranges.push(range);
    }
    return this.#entries
      .filter(
        ({ diagnostic: { severity, code } }) =>
          severity === 'error' || this.#errors === 0 || code === 'SECRET_LITERAL',
      )
      .filter(({ range, diagnostic: { code, message } }) => {
        const original = originalOf(range);
        const same = original === undefined ? [] : (written.get(`${code} ${message}`) ?? []);
        return !same.some(
          ({ start, end }) => start >= (original?.start ?? 0) && end <= (original?.end ?? 0),
        );
      })
      .toSorted((a, b) => a.range.start - b.range.start || a.range.end - b.range.end)
      .filter(({ range, diagnostic: { code, message } }) => {
        const key = `${range.start} ${range.end} ${code} ${message}`;
        if (told.has(key)) return false;
        told.add(key);
        return true;
      })
      .map((entry) => entry.diagnostic);
  }
}

function clip(message: string): string {
  const shown = message.replace(LONG_WORD, (word) => `${word.slice(0, 80)}…${word.slice(-20)}`);
  return shown.length > MAX_MESSAGE ? `${shown.slice(0, MAX_MESSAGE)}…` : shown;
}

/** Line and column of an offset, both from 1. */
export function placeOf(source: Source, offset: number): { line: number; column: number } {
  let low = 0;
  let high = source.lineStarts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((source.lineStarts[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return { line: low + 1, column: offset - (source.lineStarts[low] ?? 0) + 1 };
}

/** How the printer writes parts of a diagnostic; the default is plain text. */
export interface Style {
  readonly bold: (text: string) => string;
  readonly red: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly dim: (text: string) => string;
}

const PLAIN: Style = {
  bold: (text) => text,
  red: (text) => text,
  yellow: (text) => text,
  dim: (text) => text,
};

/** Widest piece of a source line that is shown, in characters. */
const MAX_LINE_WIDTH = 120;

/** A diagnostic for a person; `source` is the text that its places refer to. */
export function printDiagnostic(
  diagnostic: Omit<Diagnostic, 'code'> & { readonly code: string },
  source: Source,
  style: Style = PLAIN,
): string {
  const { line, column, endLine, endColumn } = diagnostic;
  const color = diagnostic.severity === 'error' ? style.red : style.yellow;
  const head = `${style.bold(`${harmless(diagnostic.file)}:${line}:${column}`)}: ${color(
    diagnostic.severity,
  )}: ${diagnostic.message} ${style.dim(`[${diagnostic.code}]`)}`;

  const start = source.lineStarts[line - 1] ?? 0;
  const next = source.lineStarts[line];
  const end = next === undefined ? source.text.length : next - 1;
  const row = masked(source, start, end);
  const whole = row.endsWith('\r') ? row.slice(0, -1) : row;
  const lastColumn = endLine === line ? endColumn : whole.length + 1;
  const cut = Math.max(0, Math.min(column - 1 - 40, whole.length - MAX_LINE_WIDTH));
  const shown =
    whole.length <= MAX_LINE_WIDTH
      ? { from: 0, to: whole.length }
      : { from: cut, to: cut + MAX_LINE_WIDTH };
  const before = shown.from > 0 ? '…' : '';
  const after = shown.to < whole.length ? '…' : '';
  const piece = `${before}${harmless(whole.slice(shown.from, shown.to))}${after}`;
  const lead = before.length + width(whole.slice(shown.from, Math.min(column - 1, shown.to)));
  const marked = width(
    whole.slice(Math.min(column - 1, shown.to), Math.min(lastColumn - 1, shown.to)),
  );
  const gutter = String(line);
  const blank = ' '.repeat(gutter.length);
  const lines = [
    head,
    `${style.dim(`${gutter} |`)} ${piece}`.trimEnd(),
    `${style.dim(`${blank} |`)} ${' '.repeat(lead)}${color('~'.repeat(Math.max(1, marked)))}`,
  ];
  if (diagnostic.hint !== '') lines.push(`${blank} ${style.dim('=')} ${diagnostic.hint}`);
  return lines.join('\n');
}

/** The secrets that reach into a piece of the text. */
function secretsBetween({ secrets }: Source, from: number, to: number): readonly SecretLiteral[] {
  let low = 0;
  let high = secrets.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((secrets[middle]?.range.end ?? 0) <= from) low = middle + 1;
    else high = middle;
  }
  const found: SecretLiteral[] = [];
  for (let at = low; (secrets[at]?.range.start ?? to) < to; at += 1) {
    const secret = secrets[at];
    if (secret !== undefined) found.push(secret);
  }
  return found;
}

/** A piece of the text, with a mark for each character of a secret. */
function masked(source: Source, from: number, to: number): string {
  let piece = source.text.slice(from, to);
  for (const { range } of secretsBetween(source, from, to)) {
    const start = Math.max(0, range.start - from);
    const end = Math.min(piece.length, range.end - from);
    piece = piece.slice(0, start) + '*'.repeat(end - start) + piece.slice(end);
  }
  return piece;
}

/** Each character takes the place that `harmless` gives it; an escape sequence must not move the squiggle. */
function width(text: string): number {
  return Array.from(harmless(text)).length;
}

/**
 * Text from a file, safe to print: control characters, terminal escapes and marks that change the
 * direction of text become visible, one character for one character.
 */
function harmless(text: string): string {
  return (
    text
      .replace(/\t/g, ' ')
      // oxlint-disable-next-line no-control-regex
      .replace(/[\u0000-\u001f]/g, (char) => String.fromCharCode(0x2400 + char.charCodeAt(0)))
      .replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, '\ufffd')
  );
}
