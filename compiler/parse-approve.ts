/** The form of an `approve` step. */
import type { Diagnostics } from './diagnostic.js';
import { parseDeclaration } from './parse-declaration.js';
import { checkNames } from './parse-names.js';
import type { ApproveStep, InputDeclaration } from './pipeline.js';
import { MapReader } from './read-map.js';
import type { Entry } from './yaml.js';

/** More people than this nobody waits for; their names must fit into the step's outputs. */
export const MAX_QUORUM = 10;

/** Outputs that every approval has. */
const OWN_OUTPUTS: readonly string[] = ['approvals', 'digest'];

type Approve = Pick<ApproveStep, 'show' | 'fields' | 'expires' | 'quorum' | 'summary'>;

/** Null when it is no approval at all, which is told. */
export function parseApprove(reader: MapReader, diagnostics: Diagnostics): Approve | null {
  const node = reader.get('approve');
  if (node === undefined) return null;
  // The question alone.
  if (node.kind === 'scalar' && typeof node.value === 'string' && node.value.trim() !== '')
    return { show: [], fields: [], quorum: 1, summary: node };
  if (node.kind !== 'map') {
    reader.invalid(
      node,
      '`approve` is a map, or the question as text',
      'for instance `approve: { show: { patch: … }, expires: 12h }`',
    );
    return null;
  }
  const inner = new MapReader(node, diagnostics, {
    what: '`approve`',
    keys: ['show', 'fields', 'expires', 'quorum', 'summary'],
  });
  const summary = inner.get('summary');
  if (!['show', 'summary'].some((key) => inner.has(key) || inner.isReported(key)))
    inner.required('show', 'or `summary`: a person must see what is to be approved');
  const show = entriesOf(inner, 'show', 'values');
  checkNames(show, 'a value to show', diagnostics);
  const expires = inner.get('expires');
  return {
    show,
    fields: parseFields(inner, diagnostics),
    ...(expires === undefined ? {} : { expires }),
    quorum: inner.integer('quorum', 1, MAX_QUORUM) ?? 1,
    ...(summary === undefined ? {} : { summary }),
  };
}

function parseFields(inner: MapReader, diagnostics: Diagnostics): InputDeclaration[] {
  const entries = entriesOf(inner, 'fields', 'their declarations');
  checkNames(entries, 'a field', diagnostics);
  const seen = new Set<string>();
  return entries.flatMap((entry) => {
    if (seen.has(entry.key)) return [];
    seen.add(entry.key);
    if (OWN_OUTPUTS.includes(entry.key) || entry.key === '__proto__') {
      diagnostics.add(
        'ID_RESERVED',
        entry.keyRange,
        `\`${entry.key}\` has a meaning of its own and cannot be a field`,
        'choose another word',
      );
    }
    return [parseDeclaration(entry, 'field', diagnostics)];
  });
}

function entriesOf(inner: MapReader, key: string, what: string): readonly Entry[] {
  const node = inner.get(key);
  if (node === undefined) return [];
  if (node.kind === 'map' && node.entries.length > 0) return node.entries;
  inner.invalid(node, `\`${key}\` is a map from names to ${what}`);
  return [];
}
