/**
 * The one way to write a YAML file, for `adit fmt`: spaces, quotes, line breaks and indentation, and nothing else.
 *
 * Invariants:
 * 1. Keys, values, their order and anchors stay, so that the plan stays; comments stay, in their order. It is compared
 *    afterwards: a text for which this does not hold is given back as it was, with the reason.
 * 2. What is given back is formatted: formatting it again changes nothing.
 */
import type { Options } from 'prettier';
import * as yamlPlugin from 'prettier/plugins/yaml';
import { format } from 'prettier/standalone';
import { Parser } from 'yaml';
import { createSource, Diagnostics, type Diagnostic, type Source } from '../compiler/diagnostic.js';
import { decodeFile, parseYaml, type SourceNode } from '../compiler/yaml.js';

/** What editors with the YAML language server format by, with the width and quotes of the shipped pipelines. */
const STYLE: Options = {
  parser: 'yaml',
  plugins: [yamlPlugin],
  printWidth: 100,
  singleQuote: true,
  proseWrap: 'preserve',
  endOfLine: 'lf',
  embeddedLanguageFormatting: 'off',
};

/** Turns until it is settled; one is enough but for odd comments. */
const MOST_TURNS = 5;

export type Formatted =
  | { readonly kind: 'formatted'; readonly text: string; readonly changed: boolean }
  /** It is not YAML that Adit reads: every mistake. */
  | {
      readonly kind: 'invalid';
      readonly diagnostics: readonly Diagnostic[];
      readonly source: Source;
    }
  /** It cannot be formatted without changing more than its form; `reason` is the rest of a sentence. */
  | { readonly kind: 'refused'; readonly reason: string };

/** `file` names it in messages. Never throws for what a file holds. */
export async function formatText(content: Uint8Array, file: string): Promise<Formatted> {
  const decoded = decodeFile(content);
  const source = createSource(file, typeof decoded === 'string' ? decoded : '');
  const diagnostics = new Diagnostics(source);
  if (typeof decoded !== 'string') {
    diagnostics.add(decoded.code, { start: 0, end: 0 }, decoded.message, decoded.hint);
    return { kind: 'invalid', diagnostics: diagnostics.list(), source };
  }
  const meaning = meaningOf(decoded, diagnostics);
  if (meaning === null) return { kind: 'invalid', diagnostics: diagnostics.list(), source };
  let text: string;
  try {
    text = await settle(decoded.replace(/^\ufeff/, ''));
  } catch (error) {
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return { kind: 'refused', reason: `the formatter cannot read it: ${reason}` };
  }
  const again = meaningOf(text, new Diagnostics(createSource(file, text)));
  if (again?.values !== meaning.values)
    return { kind: 'refused', reason: 'a value in it would be another one' };
  if (again.comments !== meaning.comments)
    return { kind: 'refused', reason: 'a comment in it would be lost, or stand elsewhere' };
  return { kind: 'formatted', text, changed: !Buffer.from(content).equals(Buffer.from(text)) };
}

/** Formats until nothing changes any more. */
async function settle(text: string): Promise<string> {
  let before = text;
  for (let turn = 0; turn < MOST_TURNS; turn += 1) {
    const after = await format(before, STYLE);
    if (after === before) return after;
    before = after;
  }
  throw new Error('it comes to no end with it');
}

/** What must stay: values, and comments; null where a mistake is told. */
function meaningOf(
  text: string,
  diagnostics: Diagnostics,
): { readonly values: string; readonly comments: string } | null {
  const { root } = parseYaml(text, diagnostics);
  if (root === null || diagnostics.list().some(({ severity }) => severity === 'error')) return null;
  return {
    values: JSON.stringify(withoutPlaces(root, text)),
    comments: JSON.stringify(commentsOf(text)),
  };
}

/** A tree as plain lists: maps keep their order, and what is written as `null` is not what was left out. */
function withoutPlaces(node: SourceNode, text: string): unknown {
  if (node.kind === 'list') return ['list', node.items.map((item) => withoutPlaces(item, text))];
  if (node.kind === 'map') {
    return [
      'map',
      node.entries.map(({ key, value }) => [key, withoutPlaces(value, text)] as const),
    ];
  }
  return node.value === null
    ? ['null', text.slice(node.range.start, node.range.end).trim()]
    : ['value', node.value];
}

/** Tokens that say something beside the values. */
const KEPT: readonly string[] = ['comment', 'anchor', 'alias'];

/** Every comment, anchor and use of one, in their order. */
function commentsOf(text: string): string[] {
  const found: string[] = [];
  const look = (token: unknown): void => {
    if (Array.isArray(token)) {
      token.forEach(look);
    } else if (typeof token === 'object' && token !== null) {
      const { type, source } = token as { readonly type?: string; readonly source?: string };
      if (type !== undefined && KEPT.includes(type)) found.push((source ?? '').trimEnd());
      Object.values(token).forEach(look);
    }
  };
  for (const token of new Parser().parse(text)) look(token);
  return found;
}
