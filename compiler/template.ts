/** A YAML value with `${{ … }}` in it to a Template, checked against the type that its place needs. */
import { isTimestamp, parseDuration } from '../core/duration.js';
import { durationHint } from './duration-hint.js';
import type { Template } from '../core/expression.js';
import type { Diagnostics, Range } from './diagnostic.js';
import { compileExpression, type CompiledExpression } from './expression.js';
import type { ExpressionSource } from './references.js';
import { wordHint } from './parse-declaration.js';
import { headOf } from './read-map.js';
import { offers, type Scope } from './scope.js';
import { suggestHint } from './suggest.js';
import {
  ANY,
  fieldsOf,
  isAssignable,
  isTextual,
  isWritable,
  joinTypes,
  printType,
  STRING,
  UNKNOWN,
  type Fields,
  type Type,
} from './types.js';
import { mapOffsets, toJson, type ScalarNode, type SourceNode } from './yaml.js';

/** Where a value stands and what it must be. */
interface Place {
  /** Names it in messages: `threshold`. */
  readonly name: string;
  readonly scope: Scope;
  readonly diagnostics: Diagnostics;
}

export interface CompiledTemplate {
  readonly template: Template;
  readonly type: Type;
  /** It has no expressions in it. */
  readonly literal: boolean;
}

const BROKEN: CompiledTemplate = {
  template: { t: 'value', value: null },
  type: UNKNOWN,
  literal: false,
};

/** As `${{ null }}`: a bare `null` stands for what is broken. */
const WRITTEN_NULL: CompiledTemplate = {
  template: { t: 'expr', expr: { op: 'lit', value: null } },
  type: { kind: 'null' },
  literal: false,
};

/** Compiles a value for a place of type `want`; what does not fit is reported at its own range. */
export function compileTemplate(node: SourceNode, want: Type, place: Place): CompiledTemplate {
  const needed = want.kind === 'nullable' ? want.of : want;
  if (node.kind === 'scalar') {
    if (node.broken === true) return BROKEN;
    if (typeof node.value === 'string' && node.value.includes('${{')) {
      return compileText(node, node.value, want, place);
    }
    if (want.kind === 'nullable' && isWrittenNull(node, place)) return WRITTEN_NULL;
    return compileLiteral(node, needed, place);
  }
  if (needed.kind === 'named' && !isWritable(needed.name)) return mismatch(node, needed, place);
  return node.kind === 'list' ? compileList(node, needed, place) : compileMap(node, needed, place);
}

/** `null` in so many words; of a place that was left empty nobody knows what was meant. */
function isWrittenNull({ value, range }: ScalarNode, { diagnostics }: Place): boolean {
  return (
    value === null && /^(?:null|~)$/i.test(diagnostics.source.text.slice(range.start, range.end))
  );
}

function compileList(
  node: SourceNode & { kind: 'list' },
  want: Type,
  place: Place,
): CompiledTemplate {
  if (want.kind !== 'list' && want.kind !== 'any' && want.kind !== 'unknown') {
    return mismatch(node, want, place);
  }
  const of = want.kind === 'list' ? want.of : ANY;
  const items = node.items.map((item, at) =>
    compileTemplate(item, of, { ...place, name: `${place.name}[${at}]` }),
  );
  if (items.every((item) => item.literal)) return wholeLiteral(node, { kind: 'list', of });
  return {
    template: { t: 'list', items: items.map((item) => item.template) },
    type: { kind: 'list', of: of.kind === 'any' ? commonType(items) : of },
    literal: false,
  };
}

function commonType(items: readonly CompiledTemplate[]): Type {
  const [first, ...others] = items.map(({ type }) => type);
  let of: Type | null = first ?? null;
  for (const other of others) of = of === null ? null : joinTypes(of, other);
  return of ?? ANY;
}

function compileMap(
  node: SourceNode & { kind: 'map' },
  want: Type,
  place: Place,
): CompiledTemplate {
  const fields = fieldsOf(want);
  const isOpen = want.kind === 'map' || want.kind === 'any' || want.kind === 'unknown';
  if (fields === null && !isOpen) return mismatch(node, want, place);
  if (fields !== null) checkKeys(node, fields, want, place);
  const entries = node.entries.map(({ key, value }) => {
    const field = fields?.get(key);
    const type = field?.type ?? (want.kind === 'map' ? want.of : fields === null ? ANY : UNKNOWN);
    return [key, compileTemplate(value, type, { ...place, name: `${place.name}.${key}` })] as const;
  });
  const type: Type =
    fields === null && want.kind !== 'map'
      ? {
          kind: 'record',
          label: place.name.replaceAll(/\W+/g, '_'),
          fields: new Map(
            entries.map(([key, entry]) => [
              key,
              { type: entry.type, optional: false, summary: '' },
            ]),
          ),
        }
      : want;
  if (entries.every(([, entry]) => entry.literal)) return wholeLiteral(node, type);
  return {
    template: { t: 'map', entries: entries.map(([key, entry]) => [key, entry.template]) },
    type,
    literal: false,
  };
}

function checkKeys(
  node: SourceNode & { kind: 'map' },
  fields: Fields,
  want: Type,
  place: Place,
): void {
  for (const { key, keyRange } of node.entries) {
    if (fields.has(key)) continue;
    place.diagnostics.add(
      'VALUE_TYPE',
      keyRange,
      `${printType(want)} has no member \`${key}\``,
      suggestHint(key, fields.keys(), ''),
    );
  }
  for (const [name, field] of fields) {
    if (field.optional || node.entries.some((entry) => entry.key === name)) continue;
    place.diagnostics.add(
      'VALUE_TYPE',
      headOf(node),
      `\`${place.name}\` needs the member \`${name}\` (${printType(field.type)})`,
      field.summary,
    );
  }
}

function wholeLiteral(node: SourceNode, type: Type): CompiledTemplate {
  return { template: { t: 'value', value: toJson(node) }, type, literal: true };
}

function compileLiteral(node: ScalarNode, want: Type, place: Place): CompiledTemplate {
  const { value } = node;
  const type = literalType(value, want);
  if (typeof value === 'string' && want.kind === 'duration' && type === null) {
    place.diagnostics.add(
      'DURATION_INVALID',
      node.range,
      `\`${value}\` is not a duration`,
      durationHint(value),
    );
    return BROKEN;
  }
  if (type === null) return mismatch(node, want, place);
  // `$${{` is how a text holds `${{`.
  const text = typeof value === 'string' ? value : null;
  const literal = text === null ? value : text.replaceAll('$${{', '${{');
  return { template: { t: 'value', value: literal }, type, literal: true };
}

/** The type of a literal at a place that needs `want`; null when it does not fit. */
function literalType(value: ScalarNode['value'], want: Type): Type | null {
  if (want.kind === 'unknown') return want;
  switch (typeof value) {
    case 'string':
      if (want.kind === 'string' || want.kind === 'any') return STRING;
      if (want.kind === 'one_of') return want.values.includes(value) ? want : null;
      if (want.kind === 'duration') return parseDuration(value) === null ? null : want;
      if (want.kind === 'timestamp') return isTimestamp(value) ? want : null;
      return null;
    case 'number': {
      const fits = Number.isInteger(value) ? ['int', 'number', 'any'] : ['number', 'any'];
      return fits.includes(want.kind) ? { kind: Number.isInteger(value) ? 'int' : 'number' } : null;
    }
    case 'boolean':
      return want.kind === 'bool' || want.kind === 'any' ? { kind: 'bool' } : null;
    default:
      return want.kind === 'any' || want.kind === 'null' ? { kind: 'null' } : null;
  }
}

function mismatch(node: SourceNode, want: Type, place: Place): CompiledTemplate {
  const isNothing = node.kind === 'scalar' && node.value === null;
  place.diagnostics.add(
    'VALUE_TYPE',
    headOf(node),
    `\`${place.name}\` takes ${printType(want)}, ${isNothing ? 'and nothing is given' : `not ${describeNode(node)}`}`,
    mismatchHint(node, want, place),
  );
  return BROKEN;
}

function mismatchHint(node: SourceNode, want: Type, place: Place): string {
  const value = node.kind === 'scalar' ? node.value : null;
  if (want.kind === 'bool') return wordHint(node);
  if (want.kind === 'one_of' && typeof value === 'string')
    return suggestHint(value, want.values, '');
  if (want.kind === 'string' && node.kind === 'scalar' && value !== null)
    return `put it in quotes: "${String(value)}"`;
  if (want.kind === 'duration' && typeof value === 'number') return durationHint(value);
  if (want.kind === 'named') {
    const found = offers(want, place.scope);
    const path =
      typeof value === 'string'
        ? /^\$?\{{0,2}\s*((?:steps|inputs)\.[\w.]+)\s*\}{0,2}$/.exec(value)
        : null;
    if (path !== null) return `write \`\${{ ${path[1]} }}\``;
    if (found.length > 0) return `for instance \`\${{ ${found[0]} }}\``;
    return isWritable(want.name) ? '' : `a ${want.name} comes from a step; nothing above gives one`;
  }
  if (want.kind === 'timestamp')
    return 'write an ISO 8601 time with a zone, such as `2026-01-31T12:00:00Z`';
  if (want.kind === 'string' && node.kind === 'list') return 'write it as one text';
  if (want.kind === 'list' && typeof value === 'string' && /^[\w.-]{1,40}$/.test(value))
    return `write a list: \`[${value}]\``;
  if (want.kind === 'map') return 'write a map: `{ name: value }`';
  if (want.kind !== 'int' && want.kind !== 'number') return '';
  if (typeof value === 'string' && /^-?[\d.]+$/.test(value)) return 'write it without quotes';
  return want.kind === 'int' ? 'write a whole number' : 'write a number';
}

function describeNode(node: SourceNode): string {
  if (node.kind !== 'scalar') return `a ${node.kind}`;
  return typeof node.value === 'string'
    ? describeText(node.value)
    : `the ${typeof node.value === 'number' ? 'number' : 'bool'} ${String(node.value)}`;
}

function describeText(text: string): string {
  return text.length > 40 || text.includes('\n') ? 'a text' : `the text \`${text}\``;
}

/** A text that is one expression keeps the type of it; otherwise it is text with values in it. */
function compileText(node: ScalarNode, text: string, want: Type, place: Place): CompiledTemplate {
  const offsets = mapOffsets(text, place.diagnostics.source.text, node.range);
  const parts = splitText(text);
  if (parts === null) {
    const at = text.lastIndexOf('${{');
    place.diagnostics.add(
      'EXPRESSION_SYNTAX',
      rangeIn(node, offsets, at, at + 3),
      '`${{` is not closed',
      'end it with `}}`',
    );
    return BROKEN;
  }
  const [only, ...others] = parts.filter((part) => typeof part !== 'string' || part.trim() !== '');
  if (only !== undefined && typeof only !== 'string' && others.length === 0) {
    const compiled = compileExpression(
      sourceOf(node, offsets, text, only),
      place.scope,
      place.diagnostics,
    );
    return checkExpression(compiled, rangeIn(node, offsets, only.start, only.end), want, place);
  }
  return compileMixed(node, text, parts, offsets, want, place);
}

function checkExpression(
  compiled: CompiledExpression,
  range: Range,
  want: Type,
  place: Place,
): CompiledTemplate {
  const { expr, type } = compiled;
  if (expr === null) return BROKEN;
  if (!isAssignable(type, want)) {
    const found = offers(want, place.scope);
    const needed = want.kind === 'nullable' ? want.of : want;
    const hint =
      type.kind === 'nullable'
        ? 'give a value in place of `null`, or move this into the condition'
        : needed.kind === 'int' && type.kind === 'number'
          ? 'convert with `int(...)`'
          : needed.kind === 'string' && isTextual(type)
            ? 'convert with `string(...)`'
            : isConvertible(needed) && (type.kind === 'string' || type.kind === 'one_of')
              ? `convert with \`${needed.kind === 'number' ? 'double' : needed.kind}(...)\``
              : ['duration', 'timestamp'].includes(needed.kind) && type.kind === 'string'
                ? `it may be any text; declare it as \`${needed.kind}\` where it comes from`
                : needed.kind === 'duration' && ['int', 'number'].includes(type.kind)
                  ? 'a number has no unit; declare it as `duration` where it comes from'
                  : needed.kind === 'list' && isAssignable(type, needed.of)
                    ? 'write a list of it: `["${{ … }}"]`'
                    : memberOf(type, needed) !== null
                      ? `did you mean its member \`${memberOf(type, needed)}\`?`
                      : found.length > 0
                        ? `for instance \`\${{ ${found[0]} }}\``
                        : '';
    place.diagnostics.add(
      'VALUE_TYPE',
      range,
      `\`${place.name}\` takes ${printType(needed)}, and this is ${printType(type)}`,
      hint,
    );
    return BROKEN;
  }
  return { template: { t: 'expr', expr }, type, literal: false };
}

/** A text that holds one of these can be read as it. */
function isConvertible({ kind }: Type): boolean {
  return kind === 'int' || kind === 'number' || kind === 'bool';
}

/** The one member of this value that would fit; null where there is none, or more than one. */
function memberOf(type: Type, want: Type): string | null {
  if (want.kind !== 'named' && want.kind !== 'list') return null;
  const fitting = [...(fieldsOf(type) ?? [])].filter(
    ([, field]) => !field.optional && field.type.kind !== 'any' && isAssignable(field.type, want),
  );
  return fitting.length === 1 ? (fitting[0]?.[0] ?? null) : null;
}

function compileMixed(
  node: ScalarNode,
  text: string,
  parts: readonly (string | TextExpression)[],
  offsets: readonly number[] | null,
  want: Type,
  place: Place,
): CompiledTemplate {
  if (!isAssignable(STRING, want)) {
    const needed = want.kind === 'nullable' ? want.of : want;
    place.diagnostics.add(
      'VALUE_TYPE',
      node.range,
      `\`${place.name}\` takes ${printType(needed)}, and this is text with a value in it`,
      needed.kind === 'duration'
        ? 'declare a `duration` where the value comes from, and write it alone'
        : 'a text that is one `${{ … }}` and nothing else keeps the type of its value',
    );
    return BROKEN;
  }
  const compiled = parts.map((part) => {
    if (typeof part === 'string') return part;
    const { expr, type } = compileExpression(
      sourceOf(node, offsets, text, part),
      place.scope,
      place.diagnostics,
    );
    if (expr !== null && !isTextual(type)) {
      place.diagnostics.add(
        'EXPRESSION_TYPE',
        rangeIn(node, offsets, part.start, part.end),
        `${printType(type)} cannot be written into a text`,
        type.kind === 'nullable'
          ? 'give a text in place of `null`'
          : type.kind === 'list'
            ? 'read one of its items, or pass it to an input that takes a list'
            : 'read a member of it that is text or a number',
      );
    }
    return expr ?? '';
  });
  return { template: { t: 'text', parts: compiled }, type: STRING, literal: false };
}

interface TextExpression {
  readonly text: string;
  /** Of the whole `${{ … }}` in the text. */
  readonly start: number;
  readonly end: number;
}

/** A text as plain parts and expressions; null when an expression is not closed. */
function splitText(text: string): (string | TextExpression)[] | null {
  const parts: (string | TextExpression)[] = [];
  let plain = '';
  let at = 0;
  while (at < text.length) {
    if (text.startsWith('$${{', at)) {
      plain += '${{';
      at += 4;
    } else if (text.startsWith('${{', at)) {
      const close = closingOf(text, at + 3);
      if (close === -1) return null;
      if (plain !== '') parts.push(plain);
      plain = '';
      parts.push({ text: text.slice(at + 3, close), start: at, end: close + 2 });
      at = close + 2;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  if (plain !== '') parts.push(plain);
  return parts;
}

/** Where `}}` ends an expression: braces of maps and quoted texts inside of it do not. */
function closingOf(text: string, from: number): number {
  let depth = 0;
  let quote = '';
  for (let at = from; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (quote !== '') {
      if (char === '\\') at += 1;
      else if (char === quote) quote = '';
    } else if (char === '"' || char === "'") quote = char;
    else if (char === '{') depth += 1;
    else if (char === '}' && depth > 0) depth -= 1;
    else if (char === '}' && text[at + 1] === '}') return at;
  }
  return -1;
}

function rangeIn(
  node: ScalarNode,
  offsets: readonly number[] | null,
  start: number,
  end: number,
): Range {
  // A place behind the text, where something is missing, is shown at its last character.
  const from = Math.min(start, (offsets?.length ?? 0) - 1);
  const first = offsets?.[from];
  const last = offsets?.[Math.max(from, Math.min(end, offsets.length) - 1)];
  return first === undefined || last === undefined ? node.range : { start: first, end: last + 1 };
}

function sourceOf(
  node: ScalarNode,
  offsets: readonly number[] | null,
  whole: string,
  part: TextExpression,
): ExpressionSource {
  const base = part.start + 3;
  return {
    text: part.text,
    toRange: (start, end) => {
      const trimmed = trimRange(whole, base + start, base + Math.max(end, start + 1));
      return rangeIn(node, offsets, trimmed.start, trimmed.end);
    },
  };
}

function trimRange(text: string, start: number, end: number): Range {
  let from = start;
  let to = Math.min(end, text.length);
  while (from < to - 1 && /\s/.test(text[from] ?? '')) from += 1;
  while (to > from + 1 && /\s/.test(text[to - 1] ?? '')) to -= 1;
  return { start: from, end: to };
}

/** The bare CEL of `if`, `foreach` and `collect`. */
export function bareSource(node: ScalarNode, diagnostics: Diagnostics): ExpressionSource {
  const text = String(node.value);
  const offsets = mapOffsets(text, diagnostics.source.text, node.range);
  return {
    text,
    toRange: (start, end) => {
      const trimmed = trimRange(text, start, Math.max(end, start + 1));
      return rangeIn(node, offsets, trimmed.start, trimmed.end);
    },
  };
}
