/** A YAML tree to a Pipeline: every mistake of form is told here, names and types are left to the checker. */
import type { Diagnostics, Range } from './diagnostic.js';
import type { InputDeclaration, Pipeline } from './pipeline.js';
import { parseDefaults } from './parse-options.js';
import { parseSteps } from './parse-step.js';
import { nameHint } from './parse-names.js';
import { headOf, MapReader, NAME_PATTERN } from './read-map.js';
import { typeHint } from './type-hint.js';
import { parseType, UNKNOWN, type Type } from './types.js';
import type { Entry, SourceNode } from './yaml.js';

export function parsePipeline(root: SourceNode, diagnostics: Diagnostics): Pipeline | null {
  if (root.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(root),
      `a pipeline is a map, not ${root.kind === 'list' ? 'a list' : 'a single value'}`,
      'begin with `pipeline: name`, then `steps:`',
    );
    return null;
  }
  const reader = new MapReader(root, diagnostics, {
    what: 'a pipeline',
    keys: ['pipeline', 'summary', 'inputs', 'defaults', 'steps', 'outputs'],
  });
  const name = parseName(reader, diagnostics);
  const summary = reader.text('summary')?.value;
  const inputs = parseInputs(reader, diagnostics);
  const defaults = parseDefaults(reader, diagnostics);
  const stepsNode = reader.required('steps', 'list what the pipeline does under `steps:`');
  const steps = stepsNode === undefined ? [] : parseSteps(stepsNode, 'steps', diagnostics);
  // Without steps every output would be one more mistake.
  const outputs = stepsNode?.kind === 'list' ? entriesOf(reader, 'outputs') : [];
  checkNames(outputs, 'an output', diagnostics);
  return {
    name,
    ...(typeof summary === 'string' ? { summary } : {}),
    inputsRange: reader.keyRange('inputs'),
    inputs,
    inputsBroken: reader.isReported('inputs') || !isMapOrEmpty(reader.get('inputs')),
    defaults,
    steps,
    outputs,
  };
}

function isMapOrEmpty(node: SourceNode | undefined): boolean {
  return (
    node === undefined || node.kind === 'map' || (node.kind === 'scalar' && node.value === null)
  );
}

function parseName(reader: MapReader, diagnostics: Diagnostics): { value: string; range: Range } {
  if (!reader.has('pipeline')) {
    reader.required('pipeline', 'name it in the first line: `pipeline: my-round`');
    return { value: '', range: headOf(reader.node) };
  }
  const node = reader.text('pipeline');
  const value = typeof node?.value === 'string' ? node.value : '';
  if (node !== undefined && !/^[a-z0-9][a-z0-9_-]{0,63}$/.test(value)) {
    diagnostics.add(
      'ID_INVALID',
      node.range,
      `\`${value}\` is not a name for a pipeline`,
      pipelineNameHint(value),
    );
  }
  return { value, range: node?.range ?? reader.keyRange('pipeline') };
}

function pipelineNameHint(name: string): string {
  const mended = name
    .slice(0, 80)
    .trim()
    .toLowerCase()
    .replaceAll(/[\s.]+/g, '-');
  return /^[a-z0-9][a-z0-9_-]{0,63}$/.test(mended)
    ? `write \`${mended}\``
    : 'use lower-case letters, digits, `-` and `_`, at most 64';
}

function entriesOf(reader: MapReader, key: string): readonly Entry[] {
  const node = reader.get(key);
  if (node === undefined) return [];
  if (node.kind === 'map') return node.entries;
  if (node.kind === 'scalar' && node.value === null) return [];
  reader.invalid(
    node,
    `\`${key}\` is a map from names to values`,
    node.kind === 'list' ? 'write `name: …`, without the `- `' : '',
  );
  return [];
}

function checkNames(entries: readonly Entry[], what: string, diagnostics: Diagnostics): void {
  for (const { key, keyRange } of entries) {
    if (NAME_PATTERN.test(key)) continue;
    diagnostics.add('ID_INVALID', keyRange, `\`${key}\` is not a name for ${what}`, nameHint(key));
  }
}

function parseInputs(reader: MapReader, diagnostics: Diagnostics): InputDeclaration[] {
  const entries = entriesOf(reader, 'inputs');
  checkNames(entries, 'an input', diagnostics);
  const inputs: InputDeclaration[] = [];
  const names = new Set<string>();
  for (const entry of entries) {
    if (names.has(entry.key)) continue;
    names.add(entry.key);
    inputs.push(parseInput(entry, diagnostics));
  }
  return inputs;
}

function parseInput(entry: Entry, diagnostics: Diagnostics): InputDeclaration {
  const { key: name, keyRange: nameRange, value } = entry;
  if (value.kind !== 'map') {
    diagnostics.add(
      'VALUE_INVALID',
      headOf(value),
      `the input \`${name}\` is declared by a map`,
      `write \`{ type: ${typeWord(value)} }\`, with \`default\` and \`summary\` as needed`,
    );
    return { name, nameRange, type: UNKNOWN, summary: '', required: true };
  }
  const reader = new MapReader(value, diagnostics, {
    what: 'an input',
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
      `the input \`${name}\` is required, so its default is never used`,
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
    const values =
      oneOf.kind === 'list'
        ? oneOf.items.map((item) => (item.kind === 'scalar' ? item.value : null))
        : [];
    if (values.length > 0 && values.every((value) => typeof value === 'string')) {
      return { kind: 'one_of', values };
    }
    reader.invalid(oneOf, '`one_of` is a list of texts', 'for instance `one_of: [fast, thorough]`');
    return UNKNOWN;
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
