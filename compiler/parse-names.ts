/** Ids and names for values: their form, and the words that are taken. */
import type { Diagnostics, Range } from './diagnostic.js';
import type { Located } from './pipeline.js';
import { headOf, NAME_PATTERN, type MapReader } from './read-map.js';
import type { Entry } from './yaml.js';

/** Ids with a meaning of their own, in expressions or in the language. */
export const RESERVED_IDS: readonly string[] = [
  'finally',
  'then',
  'else',
  'catch',
  'inputs',
  'steps',
  'run',
  'error',
  'in',
  'true',
  'false',
  'null',
  // Assigned to an object it would be lost.
  '__proto__',
];

export function parseId(reader: MapReader, diagnostics: Diagnostics): Located<string> | undefined {
  const node = reader.get('id');
  if (node === undefined) return undefined;
  const value = node.kind === 'scalar' ? String(node.value ?? '') : '';
  if (value === '') {
    reader.invalid(node, '`id` is a word', 'leave it out where nothing reads the step');
    return undefined;
  }
  if (checkName(value, headOf(node), 'an id', diagnostics)) return { value, range: node.range };
  return undefined;
}

/** How to write a name that is not a word. */
function nameHint(name: string): string {
  const mended = name.replaceAll(/[- ]/g, '_');
  return NAME_PATTERN.test(mended)
    ? `write \`${mended}\`${name.includes('-') ? ': in an expression a `-` is a subtraction' : ''}`
    : 'use letters, digits and `_`, not beginning with a digit, at most 64';
}

/** `allowed` are reserved words that have their own meaning just here. */
function checkName(
  value: string,
  range: Range,
  what: string,
  diagnostics: Diagnostics,
  allowed: readonly string[] = [],
): boolean {
  if (!NAME_PATTERN.test(value)) {
    diagnostics.add('ID_INVALID', range, `\`${value}\` is not ${what}`, nameHint(value));
    return false;
  }
  if (RESERVED_IDS.includes(value) && !allowed.includes(value)) {
    diagnostics.add(
      'ID_RESERVED',
      range,
      `\`${value}\` has a meaning of its own and cannot be ${what}`,
      'choose another word',
    );
    return false;
  }
  return true;
}

/** The name that `as` gives; undefined where there is none that could be one. */
export function parseAs(
  reader: MapReader,
  diagnostics: Diagnostics,
  allowed: readonly string[] = [],
): Located<string> | undefined {
  const node = reader.text('as');
  if (node === undefined) return undefined;
  const value = String(node.value);
  // Another name in place of one that is refused would make every use of it a second mistake.
  return checkName(value, node.range, 'a name for a value', diagnostics, allowed) ||
    NAME_PATTERN.test(value)
    ? { value, range: node.range }
    : undefined;
}

/** Names that the keys of a map give. */
export function checkNames(
  entries: readonly Entry[],
  what: string,
  diagnostics: Diagnostics,
): void {
  for (const { key, keyRange } of entries) {
    if (NAME_PATTERN.test(key)) continue;
    diagnostics.add('ID_INVALID', keyRange, `\`${key}\` is not a name for ${what}`, nameHint(key));
  }
}
