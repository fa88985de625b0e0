import { suggest } from './suggest.js';
import { INPUT_TYPE_NAMES, parseType } from './types.js';

/** Names that other languages have for the types of a pipeline. */
const OTHER_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    string: 'str text char varchar',
    int: 'integer long i32 i64 uint',
    number: 'float double decimal real f32 f64',
    bool: 'boolean',
    list: 'array slice vec vector sequence set',
    map: 'object dict dictionary record struct hash',
    timestamp: 'date datetime time instant',
    duration: 'timedelta interval period',
  }).flatMap(([name, others]) => others.split(' ').map((other) => [other, name] as const)),
);

/** How to write the type that was meant. */
export function typeHint(written: string): string {
  const text = written.trim().slice(0, 100);
  const mended = mend(text);
  if (mended === 'list' || mended === 'map') return `say of what: \`${mended}<string>\``;
  if (mended !== text && parseType(mended) !== null) return `did you mean \`${mended}\`?`;
  return 'types are string, int, number, bool, duration, timestamp, list<T>, map<T>, and named values such as Recipe';
}

function mend(text: string): string {
  const array = /^(.+)\[\]$/.exec(text)?.[1];
  if (array !== undefined) return `list<${mend(array)}>`;
  const generic = /^(\w+)\s*[<[](.*)[>\]]$/.exec(text);
  if (generic !== null) {
    const outer = mendName(generic[1] ?? '');
    // A map has text keys, so only its values have a type.
    const inner = (generic[2] ?? '').replace(/^\s*(?:str|string)\s*,/i, '');
    return inner.trim() === '' ? outer : `${outer}<${mend(inner.trim())}>`;
  }
  return mendName(text);
}

function mendName(name: string): string {
  const lower = name.toLowerCase();
  return OTHER_NAMES.get(lower) ?? suggest(name, [...INPUT_TYPE_NAMES, 'list', 'map']) ?? name;
}
