/** What to write in place of a name or a member that is not there. */
import { FUNCTIONS, METHODS } from './expression-functions.js';
import type { Scope } from './scope.js';
import { suggestHint } from './suggest.js';
import { fieldsOf, type Type } from './types.js';

/** Words of other languages for values. */
const LITERALS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    true: 'yes on true',
    false: 'no off false',
    null: 'none nil undefined null',
  }).flatMap(([literal, words]) => words.split(' ').map((word) => [word, literal] as const)),
);

/** What other tools show in expressions, and a pipeline is given as an input. */
const OUTSIDE: readonly string[] = [
  'env',
  'secrets',
  'vars',
  'github',
  'matrix',
  'params',
  'config',
];

/** `known` are the names that there are. */
export function unknownNameHint(name: string, scope: Scope, known: readonly string[]): string {
  const word = LITERALS.get(name.toLowerCase());
  if (word !== undefined) return `write \`${word}\``;
  if (fieldsOf(scope.inputs)?.has(name) === true) return `did you mean \`inputs.${name}\`?`;
  if (scope.file.ids.has(name)) return `did you mean \`steps.${name}\`?`;
  if (scope.file.values.has(name))
    return `\`${name}\` is there only inside of the block that names it`;
  if (OUTSIDE.includes(name) && scope.namesOnly !== true)
    return 'expressions see nothing from outside of the run: make it an input';
  return suggestHint(name, known, '');
}

/** Functions of other languages. */
const OTHER_FUNCTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    size: 'len length count',
    string: 'str tostring text format',
    double: 'float number parsefloat',
    int: 'integer parseint round floor',
    bool: 'boolean',
    has: 'defined exists isset default coalesce',
    exists: 'any some find',
    all: 'every',
    contains: 'includes indexof',
    filter: 'where select',
    startsWith: 'hasprefix',
    endsWith: 'hassuffix',
  }).flatMap(([name, others]) => others.split(' ').map((other) => [other, name] as const)),
);

/** `known` are the functions that can stand there. */
export function functionHint(name: string, known: readonly string[]): string {
  if (['success', 'failure', 'always', 'cancelled', 'succeeded', 'failed'].includes(name))
    return 'a step runs when those before it have ended well: what else is to happen stands in `catch` or `finally` of a `try`';
  const other = OTHER_FUNCTIONS.get(name.toLowerCase()) ?? name;
  if (known.includes(other) || (FUNCTIONS.has(other) && other !== name))
    return `did you mean \`${other}${known.includes(other) ? '' : '(…)'}\`?`;
  if (METHODS.has(name)) return `write it behind the value: \`a.${name}(b)\``;
  return suggestHint(name, known, '');
}

/** For a value that has no members at all. */
export function noMembersHint(type: Type, key: string): string {
  if (key === 'length' || key === 'count') return 'write `size(…)`';
  return type.kind === 'list' ? `read one of its items, or all of them: \`.map(x, x.${key})\`` : '';
}

/** For a record without this member; `otherwise` where there is nothing to say. */
export function unknownMemberHint(
  key: string,
  type: Type,
  place: { readonly isOutputs: boolean; readonly step: string | null; readonly otherwise: string },
): string {
  const fields = fieldsOf(type) ?? new Map();
  const known = [...fields.keys()];
  if (key === 'results' && known.includes('failures')) return 'give the `foreach` a `collect:`';
  if (place.isOutputs && known.length === 0)
    return `declare it under \`with\`: \`outputs: { ${key}: string }\``;
  const outputs = type.kind === 'record' ? type.fields.get('outputs')?.type : undefined;
  if (place.step !== null && outputs !== undefined && fieldsOf(outputs)?.has(key) === true)
    return `did you mean \`outputs.${key}\`?`;
  if (place.step !== null && ['succeeded', 'success', 'status', 'result', 'outcome'].includes(key))
    return `ask with \`has(steps.${place.step})\` whether it has run, and ended well`;
  return suggestHint(key, known, place.otherwise);
}
