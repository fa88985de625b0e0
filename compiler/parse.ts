/** A YAML tree to a Pipeline: every mistake of form is told here, names and types are left to the checker. */
import type { Diagnostics, Range } from './diagnostic.js';
import type { InputDeclaration, Pipeline } from './pipeline.js';
import { parseDeclaration } from './parse-declaration.js';
import { checkNames } from './parse-names.js';
import { parseDefaults } from './parse-options.js';
import { parseRunTerms } from './parse-run-terms.js';
import { parseSteps } from './parse-step.js';
import { headOf, MapReader } from './read-map.js';
import type { Entry, SourceNode } from './yaml.js';

/** Keys of a pipeline file. */
export const PIPELINE_KEYS = [
  'pipeline',
  'summary',
  'inputs',
  'defaults',
  'deadline',
  'notify',
  'steps',
  'outputs',
] as const;

/** A pipeline's name. */
export const PIPELINE_NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;

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
    keys: PIPELINE_KEYS,
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
    terms: parseRunTerms(reader),
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
  if (node !== undefined && !PIPELINE_NAME.test(value)) {
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
  return PIPELINE_NAME.test(mended)
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

function parseInputs(reader: MapReader, diagnostics: Diagnostics): InputDeclaration[] {
  const entries = entriesOf(reader, 'inputs');
  checkNames(entries, 'an input', diagnostics);
  const inputs: InputDeclaration[] = [];
  const names = new Set<string>();
  for (const entry of entries) {
    if (names.has(entry.key)) continue;
    names.add(entry.key);
    inputs.push(parseDeclaration(entry, 'input', diagnostics));
  }
  return inputs;
}
