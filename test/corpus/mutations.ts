/** Pipelines with something wrong put into them: at the level of tokens, and at that of the YAML tree. */
import * as fc from 'fast-check';
import { parse, stringify } from 'yaml';
import type { Json } from '../../core/json.js';

/** What YAML, the language and expressions are made of, and what they should refuse. */
const PIECES = [
  '${{', '}}', '{', '}', '[', ']', '"', "'", ': ', '- ', '\n', '\t', '  ', '&a ', '*a', '<<: ', '!!str ', '!x ', '|\n', '>-\n', '#', '%YAML 1.1\n',
  '---\n', '?', 'if: ', 'foreach: ', 'try:\n', 'parallel:\n', 'repeat: { limit: 2 }\n', 'needs: ', 'catch:\n', 'uses: ', 'id: ', 'with: ', 'steps.', 'inputs.',
  'has(', ')', '.map(x, ', ' ? ', ' && ', '1e999', '5m', '-', 'run', '\u0000', '\ufeff', '\u001b[31m', '😀', '\ud800', '~', 'null', '__proto__', 'constructor', '$${{', '\r\n',
];

const VALUES: readonly Json[] = [null, true, 0, -1, 1.5, '', 'a', '5m', '${{ inputs.a }}', '${{ steps.a.exit_code }}', [], {}, ['a'], { a: 1 }, [[]], '__proto__', 'finally'];

type Edit = { readonly kind: 'insert' | 'delete' | 'move' | 'swap' | 'word'; readonly at: number; readonly to: number; readonly piece: string };

const edit: fc.Arbitrary<Edit> = fc.record({
  kind: fc.constantFrom('insert', 'delete', 'move', 'swap', 'word'),
  at: fc.nat(),
  to: fc.nat(),
  piece: fc.constantFrom(...PIECES),
});

function applyEdit(text: string, { kind, at: where, to: target, piece }: Edit, words: readonly string[]): string {
  const at = where % (text.length + 1);
  if (kind === 'insert') return text.slice(0, at) + piece + text.slice(at);
  if (kind === 'delete') return text.slice(0, at) + text.slice(at + 1 + (target % 30));
  if (kind === 'move') {
    const rows = text.split('\n');
    const [row = ''] = rows.splice(where % rows.length, 1);
    rows.splice(target % (rows.length + 1), 0, row);
    return rows.join('\n');
  }
  const tokens = text.split(/(\w+)/);
  // Words stand at the odd places.
  const place = (number: number): number => (tokens.length < 3 ? 0 : 1 + 2 * (number % ((tokens.length - 1) >> 1)));
  const [a, b] = [place(where), place(target)];
  const [left = '', right = ''] = [tokens[a], tokens[b]];
  tokens[a] = kind === 'swap' ? right : (words[target % words.length] ?? '');
  if (kind === 'swap') tokens[b] = left;
  return tokens.join('');
}

/** One of the texts with a few tokens changed. */
export function mutatedTexts(texts: readonly string[]): fc.Arbitrary<string> {
  const words = [...new Set(texts.flatMap((text) => text.match(/\w+/g) ?? []))];
  return fc
    .tuple(fc.constantFrom(...texts), fc.array(edit, { minLength: 1, maxLength: 6 }))
    .map(([text, edits]) => edits.reduce((changed, one) => applyEdit(changed, one, words), text));
}

type Path = readonly (string | number)[];

function pathsOf(tree: Json, path: Path = []): Path[] {
  if (typeof tree !== 'object' || tree === null) return [path];
  const children = Array.isArray(tree) ? [...tree.entries()] : Object.entries(tree);
  return [path, ...children.flatMap(([key, child]) => pathsOf(child, [...path, key]))];
}

function at(tree: Json, path: Path): Json {
  return path.reduce<Json>((node, key) => (node as { [key: string]: Json })[key] ?? null, tree);
}

/** The tree with the child at a path changed; undefined takes it out. */
function change(tree: Json, path: Path, to: (old: Json) => Json | undefined): Json {
  const [key, ...rest] = path;
  if (key === undefined) return to(tree) ?? null;
  if (Array.isArray(tree)) {
    return tree.flatMap((item, index) => {
      if (index !== key) return [item];
      const made = rest.length === 0 ? to(item) : change(item, rest, to);
      return made === undefined ? [] : [made];
    });
  }
  if (typeof tree !== 'object' || tree === null) return tree;
  return Object.fromEntries(
    Object.entries(tree).flatMap(([name, child]) => {
      if (name !== key) return [[name, child]];
      const made = rest.length === 0 ? to(child) : change(child, rest, to);
      return made === undefined ? [] : [[name, made]];
    }),
  );
}

const treeEdit = fc.record({
  kind: fc.constantFrom('take out', 'set', 'graft', 'double', 'wrap', 'rename'),
  at: fc.nat(),
  from: fc.nat(),
  value: fc.constantFrom(...VALUES),
});

/** One of the pipelines with parts of its tree taken out, replaced, doubled, wrapped, or taken from another place. */
export function mutatedTrees(texts: readonly string[]): fc.Arbitrary<string> {
  const trees = texts.map((text) => parse(text, { logLevel: 'error' }) as Json);
  return fc
    .tuple(fc.constantFrom(...trees), fc.constantFrom(...trees), fc.array(treeEdit, { minLength: 1, maxLength: 3 }))
    .map(([tree, other, edits]) => {
      const donors = pathsOf(other);
      const changed = edits.reduce<Json>((now, { kind, at: where, from, value }) => {
        const paths = pathsOf(now);
        const path = paths[where % paths.length] ?? [];
        const donor = at(other, donors[from % donors.length] ?? []);
        if (kind === 'rename') {
          const key = donors[from % donors.length]?.at(-1);
          const last = path.at(-1);
          if (typeof key !== 'string' || typeof last !== 'string') return now;
          return change(now, path.slice(0, -1), (map) =>
            Object.fromEntries(Object.entries(map ?? {}).map(([name, child]) => [name === last ? key : name, child])),
          );
        }
        return change(now, path, (old) => {
          if (kind === 'take out') return undefined;
          if (kind === 'set') return value;
          if (kind === 'graft') return donor;
          return kind === 'double' && Array.isArray(old) ? [...old, ...old] : [old];
        });
      }, tree);
      return stringify(changed, { lineWidth: 0 });
    });
}
