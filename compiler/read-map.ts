import { parseDuration } from '../core/duration.js';
import { LONGEST_WAIT_MS } from '../core/run-wait.js';
import type { Diagnostics, Range } from './diagnostic.js';
import { durationHint } from './duration-hint.js';
import { rewrite, translate } from './other-words.js';
import { listNames, suggest } from './suggest.js';
import type { Entry, MapNode, ScalarNode, SourceNode } from './yaml.js';

/** A word that can stand in an expression. */
export const NAME_PATTERN = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;

/** Constructs of the language that this version refuses by name, with what to do instead. */
const LATER: ReadonlyMap<string, string> = new Map([
  ['labels', 'a step runs on the host of its workspace, or on one that is chosen once for the run'],
]);

/** The longest that a duration may be. */
interface Longest {
  readonly ms: number;
  readonly text: string;
  readonly hint?: string;
}

/** No server takes longer ones, and no author means them. */
const LONGEST: Longest = {
  ms: LONGEST_WAIT_MS,
  text: 'ten years',
  hint: 'write `3650d` or less',
};

/** Reads one map: each key is known, not there yet, or a mistake; all are told. */
export class MapReader {
  readonly node: MapNode;
  readonly #diagnostics: Diagnostics;
  readonly #what: string;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #reported: ReadonlySet<string>;
  readonly #meant: ReadonlyMap<string, SourceNode>;
  /** Keys that it does not have, which are told. */
  readonly unknown: readonly string[];

  /**
   * `what` names the map in messages: `a step`. `later` are the keys of `LATER` that could stand here, `misplaced`
   * those that belong elsewhere, with where.
   */
  constructor(
    node: MapNode,
    diagnostics: Diagnostics,
    options: {
      what: string;
      keys: readonly string[];
      later?: readonly string[];
      misplaced?: ReadonlyMap<string, string>;
    },
  ) {
    this.node = node;
    this.#diagnostics = diagnostics;
    this.#what = options.what;
    const entries = new Map<string, Entry>();
    const reported = new Set<string>();
    const meant = new Map<string, SourceNode>();
    const unknown: string[] = [];
    const later = options.later ?? [];
    for (const entry of node.entries) {
      if (options.keys.includes(entry.key)) {
        if (entry.value.kind === 'scalar' && entry.value.broken === true) reported.add(entry.key);
        else if (!entries.has(entry.key)) entries.set(entry.key, entry);
      } else if (later.includes(entry.key)) {
        refuseLater(entry, diagnostics);
      } else {
        const known = [...options.keys, ...later];
        const isStep = options.keys.includes('uses');
        const hasType = isStep && node.entries.some(({ key }) => key === 'uses');
        const rewritten = isStep ? rewrite(entry.key, hasType) : null;
        const near =
          rewritten === null ? (suggest(entry.key, known) ?? translate(entry.key, known)) : null;
        if (near !== null) {
          reported.add(near);
          if (!meant.has(near)) meant.set(near, entry.value);
        }
        unknown.push(entry.key);
        diagnostics.add(
          'KEY_UNKNOWN',
          entry.keyRange,
          `${options.what} has no \`${entry.key}\``,
          options.misplaced?.get(entry.key) ??
            rewritten ??
            (near === null
              ? `it takes ${listNames(options.keys)}${hasType ? '; inputs of its type stand under `with`' : ''}`
              : `did you mean \`${near}\`?`),
        );
      }
    }
    this.#entries = entries;
    this.#reported = reported;
    this.#meant = meant;
    this.unknown = unknown;
  }

  /** The value of a key that was misspelt as another. */
  misspelt(key: string): SourceNode | undefined {
    return this.#meant.get(key);
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** True when what is wrong with this key is already told. */
  isReported(key: string): boolean {
    return this.#reported.has(key);
  }

  get(key: string): SourceNode | undefined {
    return this.#entries.get(key)?.value;
  }

  keyRange(key: string): Range {
    return this.#entries.get(key)?.keyRange ?? headOf(this.node);
  }

  /** The value of a key that must be there; a key that was misspelt is not told a second time. */
  required(key: string, hint: string): SourceNode | undefined {
    const value = this.get(key);
    if (value === undefined && !this.#reported.has(key) && this.node.broken !== true) {
      this.#diagnostics.add(
        'KEY_MISSING',
        headOf(this.node),
        `${this.#what} needs \`${key}\``,
        hint,
      );
    }
    return value;
  }

  text(key: string): ScalarNode | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (value.kind === 'scalar' && typeof value.value === 'string' && value.value.trim() !== '')
      return value;
    this.invalid(value, `\`${key}\` is text`);
    return undefined;
  }

  /** Bare CEL; `true` and numbers are expressions too. */
  expression(key: string): ScalarNode | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (value.kind === 'scalar' && value.value !== null && value.value !== '') {
      return typeof value.value === 'string' ? value : { ...value, value: String(value.value) };
    }
    this.invalid(value, `\`${key}\` is an expression`, expressionHint(key, value));
    return undefined;
  }

  integer(key: string, least: number, most: number): number | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    const number = value.kind === 'scalar' ? value.value : null;
    if (typeof number === 'number' && Number.isInteger(number) && number >= least && number <= most)
      return number;
    const hint =
      typeof number !== 'string'
        ? ''
        : number.includes('${{')
          ? 'an expression cannot stand here: it is settled before the run'
          : /^\d+$/.test(number)
            ? 'write it without quotes'
            : '';
    this.invalid(value, `\`${key}\` is a whole number from ${least} to ${most}`, hint);
    return undefined;
  }

  duration(key: string, longest: Longest = LONGEST): number | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    const text = value.kind === 'scalar' ? value.value : null;
    const ms = typeof text === 'string' ? parseDuration(text) : null;
    if (ms !== null && ms <= longest.ms) return ms;
    if (ms !== null) {
      this.invalid(value, `\`${key}\` is at most ${longest.text}`, longest.hint);
      return undefined;
    }
    const shown =
      value.kind !== 'scalar'
        ? `a ${value.kind}`
        : text === null
          ? 'nothing'
          : `\`${String(text)}\``;
    this.#diagnostics.add(
      'DURATION_INVALID',
      value.range,
      `${shown} is not a duration`,
      durationHint(value.kind === 'scalar' ? text : ''),
    );
    return undefined;
  }

  invalid(node: SourceNode, message: string, hint = ''): void {
    this.#diagnostics.add('VALUE_INVALID', headOf(node), message, hint);
  }
}

/** A short list of plain values is written as the expression that it is meant as. */
function expressionHint(key: string, node: SourceNode): string {
  if (node.kind === 'scalar') return 'write what it computes';
  if (node.kind === 'map' && key === 'foreach')
    return 'write the list alone, such as `inputs.names`';
  if (node.kind !== 'list' || node.items.length > 8 || key !== 'foreach')
    return 'put it in quotes when it begins with `[`, `{` or `!`';
  const items = node.items.map((item) =>
    item.kind === 'scalar' && item.value !== null && !/["'\\\n]/.test(String(item.value))
      ? typeof item.value === 'string'
        ? `'${item.value}'`
        : String(item.value)
      : null,
  );
  return items.includes(null) || items.length === 0
    ? 'put it in quotes when it begins with `[`, `{` or `!`'
    : `write \`${key}: "[${items.join(', ')}]"\``;
}

/** True when this key names a construct that comes later. */
export function isLater(key: string): boolean {
  return LATER.has(key);
}

function refuseLater(entry: Entry, diagnostics: Diagnostics): void {
  diagnostics.add(
    'CONSTRUCT_UNSUPPORTED',
    entry.keyRange,
    `\`${entry.key}\` is not there yet in this version`,
    LATER.get(entry.key) ?? '',
  );
}

/** The place to show for a node: a map or a list over many lines is shown by its beginning. */
export function headOf(node: SourceNode): Range {
  if (node.kind === 'map') return node.entries[0]?.keyRange ?? node.range;
  if (node.kind === 'list')
    return { start: node.range.start, end: Math.min(node.range.start + 1, node.range.end) };
  return node.range;
}
