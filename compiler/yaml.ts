/**
 * YAML text to a tree of plain nodes, each with its source range. YAML 1.2, core schema; everything that a
 * reader could take for something else (merge keys, tags, YAML 1.1) is refused.
 */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  visit,
  type Document,
  type Node,
  type Scalar,
} from 'yaml';
import type { Json } from '../core/json.js';
import { placeOf, type DiagnosticCode, type Diagnostics, type Range } from './diagnostic.js';
import { decodeText } from './text-file.js';
import { MAX_SYNTAX_ERRORS, quote, readDocument, type Unquoted } from './unquoted.js';

export type SourceNode = ScalarNode | ListNode | MapNode;

export interface ScalarNode {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
  readonly range: Range;
  /** What stands here is already reported. */
  readonly broken?: true;
}

interface ListNode {
  readonly kind: 'list';
  readonly items: readonly SourceNode[];
  readonly range: Range;
}

export interface MapNode {
  readonly kind: 'map';
  readonly entries: readonly Entry[];
  readonly range: Range;
  /** An entry of it is left out, which is reported. */
  readonly broken?: true;
}

export interface Entry {
  readonly key: string;
  readonly keyRange: Range;
  readonly value: SourceNode;
}

/** Largest pipeline file, in bytes. */
export const MAX_FILE_BYTES = 1024 * 1024;
/** Most nodes of a document, each use of an anchor counted: what bounds alias bombs. */
const MAX_NODES = 200_000;
/** Deepest nesting of lists and maps. */
const MAX_DEPTH = 100;

/** A parsed document: its root, and where its first syntax error is, if any. */
export interface YamlTree {
  readonly root: SourceNode | null;
  /** Beyond this offset the tree is a guess. */
  readonly brokenAt: number;
}

/** Text of a file; null, with a diagnostic, when it is not text, too large or empty. */
export function decodeFile(
  bytes: Uint8Array,
): string | { code: DiagnosticCode; message: string; hint: string } {
  if (bytes.length > MAX_FILE_BYTES) {
    return {
      code: 'FILE_TOO_LARGE',
      message: `the file is ${bytes.length} bytes; a pipeline is at most ${MAX_FILE_BYTES} bytes (1 MiB)`,
      hint: 'large values belong into files that steps read',
    };
  }
  const text = decodeText(bytes);
  if (typeof text !== 'string') {
    const { message, hint } = text;
    return {
      code: 'FILE_NOT_TEXT',
      message,
      hint: hint === '' ? 'a pipeline is a YAML document in UTF-8' : hint,
    };
  }
  if (text.includes('\r') && !text.includes('\n')) {
    return {
      code: 'FILE_NOT_TEXT',
      message: 'the lines of the file end with a carriage return alone, so it is all one line',
      hint: 'save it with the line ends of Unix (LF) or of Windows (CRLF)',
    };
  }
  if (text.trim() === '') {
    return {
      code: 'FILE_EMPTY',
      message: 'the file is empty',
      hint: 'a pipeline needs at least `pipeline: name` and `steps:`',
    };
  }
  return text;
}

export function parseYaml(text: string, diagnostics: Diagnostics): YamlTree {
  let document: Document.Parsed;
  let unquoted: readonly Unquoted[];
  try {
    ({ document, unquoted } = readDocument(text));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    diagnostics.add(
      'YAML_TOO_DEEP',
      { start: 0, end: 1 },
      'lists and maps are nested too deeply to be read',
    );
    return { root: null, brokenAt: 0 };
  }
  for (const range of unquoted) {
    const expression = text.slice(range.start, range.end);
    diagnostics.add('YAML_SYNTAX', range, range.reason, `write \`${quote(expression)}\``);
  }
  const brokenAt = reportErrors(document, diagnostics);
  const versionAt = text.search(/^%YAML(?! +1\.2\s*$)/m);
  const isOther = document.directives.yaml.version !== '1.2';
  const isUnknown = document.warnings.some(({ message }) => message.startsWith('Unsupported YAML'));
  if (versionAt !== -1 && (isOther || isUnknown)) {
    diagnostics.add(
      'YAML_VERSION',
      { start: versionAt, end: text.indexOf('\n', versionAt) },
      `this asks for ${isOther ? `YAML ${document.directives.yaml.version}` : 'another YAML'}; pipelines are YAML 1.2`,
      'remove the line',
    );
    return { root: null, brokenAt: 0 };
  }
  if (document.contents === null) {
    if (diagnostics.size === 0) {
      diagnostics.add(
        'FILE_EMPTY',
        { start: 0, end: 1 },
        'the file holds no document, only comments',
        'a pipeline needs at least `pipeline: name` and `steps:`',
      );
    }
    return { root: null, brokenAt };
  }
  const builder = new TreeBuilder(diagnostics, unquoted);
  const root = builder.build(document.contents);
  const tooDeep = document.errors.find(isTooDeep);
  if (tooDeep !== undefined) builder.endTooDeep({ start: tooDeep.pos[0], end: tooDeep.pos[1] });
  return { root, brokenAt };
}

/** The library gives what its own stack was too small for as an error of the syntax. */
function isTooDeep({ message }: Document.Parsed['errors'][number]): boolean {
  return message.startsWith('Maximum call stack');
}

const SYNTAX_HINTS: { readonly [code: string]: string } = {
  TAB_AS_INDENT: 'indent with spaces',
  BAD_INDENT:
    'entries of one list or map begin in the same column, what is inside them further right',
  MISSING_CHAR: 'close the quote or bracket, or quote the whole value',
  BAD_SCALAR_START: 'quote the value: it begins with a character that means something in YAML',
  UNEXPECTED_TOKEN: 'quote the whole value if this is a part of it',
  BLOCK_AS_IMPLICIT_KEY:
    'begin a map on a line of its own, or write it in `{ … }`; quote the value if its `:` is meant as text',
  MULTILINE_IMPLICIT_KEY: 'is a `:` missing, or the blank behind it?',
  BAD_DQ_ESCAPE: 'in double quotes a `\\` begins an escape; use single quotes',
  BLOCK_IN_FLOW: 'is a `,` missing?',
};

const SYNTAX_MESSAGES: { readonly [code: string]: string } = {
  BLOCK_AS_IMPLICIT_KEY: 'a map cannot begin in the middle of this line',
  BLOCK_IN_FLOW: 'inside `{ … }` and `[ … ]` there is a comma between entries',
  MULTILINE_IMPLICIT_KEY: 'this is no `key: value`',
  TAB_AS_INDENT: 'tabs cannot indent YAML',
  BAD_ALIAS: 'this mark has no name that YAML can read',
};

/** What is wrong, and the way out, for one error of the library. */
function explainSyntax({ code, message }: Document.Parsed['errors'][number]): [string, string] {
  if (message.startsWith('Comments must be separated'))
    return ['a comment begins with a blank and `#`', 'put a blank before the `#`'];
  if (message.startsWith('Implicit map keys need to be followed'))
    return [
      'this line is no `key: value`',
      'is a `:` missing? The lines of a text stand further right than its key',
    ];
  const said = message.endsWith(' at node end')
    ? 'this does not belong behind the value before it'
    : message.charAt(0).toLowerCase() + message.slice(1);
  return [SYNTAX_MESSAGES[code] ?? said, SYNTAX_HINTS[code] ?? ''];
}

function reportErrors(document: Document.Parsed, diagnostics: Diagnostics): number {
  let brokenAt = Number.POSITIVE_INFINITY;
  const syntaxErrors = new Set<number>();
  for (const error of document.errors) {
    const range = { start: error.pos[0], end: Math.max(error.pos[1], error.pos[0] + 1) };
    brokenAt = Math.min(brokenAt, range.start);
    if (isTooDeep(error)) continue;
    const { line } = placeOf(diagnostics.source, range.start);
    if (error.code === 'MULTIPLE_DOCS') {
      diagnostics.add(
        'YAML_DOCUMENTS',
        range,
        'a second document begins here',
        'one file holds one pipeline',
      );
    } else if (/^Missing closing .quote/.test(error.message)) {
      const start = openingQuote(document, range.start);
      diagnostics.add(
        'YAML_SYNTAX',
        { start, end: start + 1 },
        'this quote is not closed',
        'close it on the same line',
      );
      brokenAt = Math.min(brokenAt, start);
      // Everything behind it was read as text.
      break;
    } else if (syntaxErrors.size > 0 && error.message.includes('in YAML stream')) {
      // The structure is lost: every token of the rest of the file would be one more mistake.
      break;
    } else if (syntaxErrors.size < MAX_SYNTAX_ERRORS && !syntaxErrors.has(line)) {
      // What else is wrong with a line mostly follows from the first.
      syntaxErrors.add(line);
      diagnostics.add('YAML_SYNTAX', range, ...explainSyntax(error));
    }
  }
  for (const warning of document.warnings) {
    const range = { start: warning.pos[0], end: warning.pos[1] };
    if (warning.code === 'TAG_RESOLVE_FAILED') {
      const tagged = diagnostics.source.text.slice(
        range.start,
        Math.min(range.end, range.start + 60),
      );
      diagnostics.add(
        'YAML_TAG',
        range,
        'tags have no meaning in a pipeline',
        /^![^!\s]/.test(tagged)
          ? `quote it if it is meant as text: \`'${tagged}'\``
          : 'write the plain value',
      );
    }
  }
  return brokenAt;
}

/** Where the quoted text begins that is still open at `end`. */
function openingQuote(document: Document.Parsed, end: number): number {
  let start = end;
  visit(document, {
    Scalar: (_key, node) => {
      if (
        node.type?.startsWith('QUOTE') === true &&
        node.range !== null &&
        node.range !== undefined &&
        node.range[0] < end
      ) {
        start = node.range[0];
      }
    },
  });
  return start;
}

class TreeBuilder {
  readonly #diagnostics: Diagnostics;
  /** Places that were mended to read on, and are reported. */
  readonly #mended: ReadonlySet<number>;
  #nodes = 0;
  /** The lists and maps that are being read, outermost first. */
  readonly #open = new Set<Node>();
  /** The nodes with an anchor, the nearest above by its name: the library looks through the whole document for each. */
  readonly #anchors = new Map<string, Node>();
  /** A limit is told once. */
  #exhausted = false;

  constructor(diagnostics: Diagnostics, mended: readonly Range[]) {
    this.#mended = new Set(mended.map(({ start }) => start));
    this.#diagnostics = diagnostics;
  }

  build(node: Node): SourceNode {
    return this.#node(node, 0, null);
  }

  /** Says that what stands here is nested too deeply, unless that is said already. */
  endTooDeep(range: Range): void {
    this.#limit('YAML_TOO_DEEP', range, `lists and maps are nested more than ${MAX_DEPTH} deep`);
  }

  /** `at` is the place of the alias that is being followed: what it stands for is reported there. */
  #node(node: Node | null, depth: number, at: Range | null): SourceNode {
    const range = at ?? rangeOf(node);
    this.#nodes += 1;
    if (this.#nodes > MAX_NODES) {
      this.#limit(
        'YAML_ALIAS',
        range,
        `the anchors of this file stand for more than ${MAX_NODES} values`,
      );
      return { kind: 'scalar', value: null, range, broken: true };
    }
    if (depth > MAX_DEPTH) {
      const head = { start: range.start, end: range.start + 1 };
      this.endTooDeep(head);
      return { kind: 'scalar', value: null, range, broken: true };
    }
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target !== undefined && this.#open.has(target)) {
        const message = `\`*${node.source}\` stands inside of what it repeats`;
        this.#diagnostics.add('YAML_ALIAS', range, message);
        return { kind: 'scalar', value: null, range, broken: true };
      }
      if (target !== undefined) {
        this.#diagnostics.repeat(range, rangeOf(target));
        return this.#node(target, depth + 1, range);
      }
      this.#diagnostics.add('YAML_ALIAS', range, `there is no anchor \`&${node.source}\` above`);
      return { kind: 'scalar', value: null, range, broken: true };
    }
    if (at === null && node?.tag?.startsWith('tag:') === true) this.#tag(node.range?.[0] ?? 0);
    // What an alias stands for is read once more; its anchors are known, and may be others by now.
    if (at === null && node?.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isSeq<Node>(node)) {
      this.#open.add(node);
      const items = node.items.map((item) => this.#node(item, depth + 1, at));
      this.#open.delete(node);
      return { kind: 'list', items, range };
    }
    if (isMap<Node, Node | null>(node)) {
      this.#open.add(node);
      const keys = new Set<string>();
      const entries = node.items.flatMap((pair): Entry[] => {
        const keyRange = at ?? rangeOf(pair.key);
        const key = isScalar(pair.key) ? pair.key.value : null;
        if (typeof key !== 'string') {
          this.#tell(
            at,
            'VALUE_INVALID',
            keyRange,
            'a key is a word here',
            'quote it if it is meant as text',
          );
          return [];
        }
        if (key === '__proto__') {
          this.#tell(
            at,
            'VALUE_INVALID',
            keyRange,
            '`__proto__` cannot be a key',
            'choose another word',
          );
          return [];
        }
        if (key === '<<') {
          this.#tell(
            at,
            'YAML_MERGE_KEY',
            keyRange,
            'merge keys are not part of YAML 1.2',
            'write the keys out, or use an anchor for a whole value',
          );
          return [];
        }
        if (keys.has(key) && at === null) this.#duplicate(key, keyRange);
        keys.add(key);
        const value = this.#node(pair.value, depth + 1, at);
        const isEmpty =
          pair.value === null || (value.range.end === value.range.start && at === null);
        return [{ key, keyRange, value: isEmpty ? { ...value, range: keyRange } : value }];
      });
      this.#open.delete(node);
      const broken = entries.length < node.items.length ? ({ broken: true } as const) : {};
      return { kind: 'map', entries, range, ...broken };
    }
    return isScalar(node) ? this.#scalar(node, range, at) : { kind: 'scalar', value: null, range };
  }

  #scalar(node: Scalar, range: Range, at: Range | null): ScalarNode {
    const { value } = node;
    const kind = 'scalar';
    // A tag and nothing behind it: `!inputs.fast` without its quotes, which is told.
    if (node.tag?.startsWith('!') === true && (node.source ?? '') === '')
      return { kind, value: null, range, broken: true };
    if (this.#mended.has(node.range?.[0] ?? -1)) return { kind, value: null, range, broken: true };
    if (typeof value === 'number') {
      const written = node.source ?? '';
      if (/^[-+]?0\d+$/.test(written)) {
        const digits = String(value);
        this.#diagnostics.add(
          'VALUE_INVALID',
          range,
          `\`${written}\` begins with 0: other readers of YAML take that for an octal number`,
          `write \`${digits}\`, or quote it if it is meant as text`,
        );
        return { kind, value: null, range, broken: true };
      }
      const isTooLarge =
        Number.isInteger(value) &&
        !Number.isSafeInteger(value) &&
        /^[-+]?\d+$/.test(node.source ?? '');
      if (Number.isFinite(value) && !isTooLarge) return { kind, value, range };
      this.#tell(
        at,
        'VALUE_INVALID',
        range,
        isTooLarge
          ? 'this number is beyond ±2^53 and would lose digits'
          : 'this is not a finite number',
        'quote it if it is meant as text',
      );
      return { kind, value: null, range, broken: true };
    }
    if (typeof value === 'string' && value.includes('\0')) {
      this.#diagnostics.add(
        'VALUE_INVALID',
        range,
        'this text holds the character NUL, which no program and no file name can be given',
        'leave the `\\0` out; a program can write one itself, as `printf` does',
      );
      return { kind, value: null, range, broken: true };
    }
    const isPlain = typeof value === 'string' || typeof value === 'boolean' || value === null;
    return { kind, value: isPlain ? value : String(value), range };
  }

  /** What stands behind an alias is told where it is written. */
  #tell(at: Range | null, code: DiagnosticCode, range: Range, message: string, hint: string): void {
    if (at === null) this.#diagnostics.add(code, range, message, hint);
  }

  /** A tag of YAML itself, before a value that begins at `start`: one of somebody's own the library tells. */
  #tag(start: number): void {
    const { text } = this.#diagnostics.source;
    const [before = ''] = /!\S*(?=[^!]*$)/.exec(text.slice(Math.max(0, start - 200), start)) ?? [];
    const at = text.lastIndexOf(before, start - 1);
    this.#diagnostics.add(
      'YAML_TAG',
      { start: at, end: at + before.length },
      'tags have no meaning in a pipeline',
      'write the plain value, in quotes if it is meant as text',
    );
  }

  #duplicate(key: string, range: Range): void {
    const shown = key.length > 80 ? `${key.slice(0, 80)}…` : key;
    const message = `the key \`${shown}\` is already there in this map`;
    this.#diagnostics.add('YAML_DUPLICATE_KEY', range, message, 'keep one of them');
  }

  #limit(code: DiagnosticCode, range: Range, message: string): void {
    if (!this.#exhausted) this.#diagnostics.add(code, range, message);
    this.#exhausted = true;
  }
}

function rangeOf(node: unknown): Range {
  const range = (node as Node | null)?.range;
  return range === null || range === undefined
    ? { start: 0, end: 0 }
    : { start: range[0], end: range[1] };
}

/** The value of a node as JSON. */
export function toJson(node: SourceNode): Json {
  switch (node.kind) {
    case 'scalar':
      return node.value;
    case 'list':
      return node.items.map(toJson);
    case 'map':
      return Object.fromEntries(node.entries.map(({ key, value }) => [key, toJson(value)]));
  }
}

/**
 * Where each character of a scalar's value stands in the source: quotes, escapes and folded lines make the
 * two differ. `null` when they cannot be matched; then the place of the whole scalar must do.
 */
export function mapOffsets(value: string, source: string, range: Range): readonly number[] | null {
  const offsets: number[] = [];
  let at = range.start;
  for (let i = 0; i < value.length; i += 1) {
    while (at < range.end && source[at] !== value[i]) at += 1;
    if (at >= range.end) return null;
    offsets.push(at);
    at += 1;
  }
  return offsets;
}
