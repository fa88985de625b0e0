/** Declarations: name, type, default and summary of an input, or of a field of an answer. */
import type { Diagnostics } from './diagnostic.js';
import type { InputDeclaration } from './pipeline.js';
import { headOf, MapReader } from './read-map.js';
import { typeHint } from './type-hint.js';
import { parseType, UNKNOWN, type Type } from './types.js';
import type { Entry, SourceNode } from './yaml.js';

/** One input, or one field of an answer: `what` names it in messages. */
export function parseDeclaration(
  entry: Entry,
  what: 'input' | 'field',
  diagnostics: Diagnostics,
): InputDeclaration {
  const { key: name, keyRange: nameRange, value } = entry;
  if (value.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(value),
      `the ${what} \`${name}\` is declared by a map`,
      `write \`{ type: ${typeWord(value)} }\`, with \`default\` and \`summary\` as needed`,
    );
    return { name, nameRange, type: UNKNOWN, summary: '', required: true };
  }
  const reader = new MapReader(value, diagnostics, {
    what: what === 'input' ? 'an input' : 'a field',
    keys: ['type', 'one_of', 'required', 'default', 'summary'],
    misplaced: new Map([['optional', 'write `required: false`']]),
  });
  const type = parseInputType(reader, diagnostics);
  const summary = reader.text('summary')?.value;
  const required = parseRequired(reader, diagnostics);
  const defaultNode = reader.get('default');
  if (required === true && defaultNode !== undefined) {
    diagnostics.add(
      'INPUT_DEFAULT',
      reader.keyRange('default'),
      `the ${what} \`${name}\` is required, so its default is never used`,
      'remove `required: true` or `default`',
    );
  }
  return {
    name,
    nameRange,
    type,
    summary: typeof summary === 'string' ? summary : '',
    required: defaultNode === undefined && required !== false,
    ...(defaultNode === undefined ? {} : { default: defaultNode }),
  };
}

/** The type that stands where its map belongs: `name: string`. */
function typeWord(node: SourceNode): string {
  const text = node.kind === 'scalar' ? String(node.value) : '';
  if (node.kind === 'list') {
    const [item, ...others] = node.items;
    return item === undefined || others.length > 0 ? 'list<string>' : `list<${typeWord(item)}>`;
  }
  return parseType(text) === null ? 'string' : text;
}

function parseRequired(reader: MapReader, diagnostics: Diagnostics): boolean | undefined {
  const node = reader.get('required');
  if (node === undefined) return undefined;
  if (node.kind === 'scalar' && typeof node.value === 'boolean') return node.value;
  diagnostics.add('VALUE_INVALID', headOf(node), '`required` is `true` or `false`', wordHint(node));
  return undefined;
}

/** YAML 1.1 took these words for booleans; a text is what they are now. */
export function wordHint(node: SourceNode): string {
  const word =
    node.kind === 'scalar' && typeof node.value === 'string' ? node.value.toLowerCase() : '';
  if (['yes', 'on', 'y'].includes(word)) return `in YAML 1.2 \`${word}\` is text; write \`true\``;
  if (['no', 'off', 'n'].includes(word)) return `in YAML 1.2 \`${word}\` is text; write \`false\``;
  return '';
}

function parseInputType(reader: MapReader, diagnostics: Diagnostics): Type {
  const oneOf = reader.get('one_of');
  if (oneOf !== undefined) {
    if (reader.has('type')) {
      diagnostics.add(
        'VALUE_INVALID',
        reader.keyRange('type'),
        '`one_of` says the type already',
        'remove `type`',
      );
    }
    return parseOneOf(reader, oneOf, diagnostics);
  }
  if (!reader.has('type')) {
    if (reader.isReported('one_of')) return UNKNOWN;
    reader.required('type', 'for instance `type: string`, or `one_of: [a, b]`');
    return UNKNOWN;
  }
  const written = reader.text('type');
  if (written === undefined) return UNKNOWN;
  const type = parseType(String(written.value));
  if (type !== null) return type;
  const isVerdict = /\bPassVerdict\b/.test(String(written.value));
  diagnostics.add(
    'INPUT_TYPE_UNKNOWN',
    written.range,
    isVerdict
      ? 'a PassVerdict cannot be an input: only the step `gate.evidence` makes one'
      : `\`${String(written.value)}\` is not a type`,
    isVerdict ? 'run the gate in this pipeline' : typeHint(String(written.value)),
  );
  return UNKNOWN;
}

function parseOneOf(reader: MapReader, node: SourceNode, diagnostics: Diagnostics): Type {
  const items = node.kind === 'list' ? node.items : [];
  const written = items.map((item) => (item.kind === 'scalar' ? item.value : null));
  const values = written.filter((value) => typeof value === 'string');
  if (values.length === 0 || values.length < written.length) {
    const isPlain = written.length > 0 && written.every((value) => value !== null);
    reader.invalid(
      node,
      '`one_of` is a list of texts',
      isPlain && written.every((value) => typeof value === 'boolean')
        ? 'write `type: bool`'
        : isPlain && written.length < 8
          ? `put them in quotes: \`one_of: [${written.map((value) => JSON.stringify(String(value))).join(', ')}]\``
          : 'for instance `one_of: [fast, thorough]`',
    );
    return UNKNOWN;
  }
  for (const [at, item] of items.entries()) {
    const value = values[at] ?? '';
    if (values.indexOf(value) < at)
      diagnostics.add(
        'VALUE_INVALID',
        headOf(item),
        `\`${value}\` stands here twice`,
        'remove one',
      );
  }
  return { kind: 'one_of', values: [...new Set(values)] };
}
