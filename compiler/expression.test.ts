import { Environment } from '@marcbachmann/cel-js';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluate, ExpressionError } from '../core/evaluate.js';
import type { Expr } from '../core/expression.js';
import type { Json, JsonObject } from '../core/json.js';
import { createSource, Diagnostics } from './diagnostic.js';
import { compileExpression } from './expression.js';
import { Facts } from './facts.js';
import { FileNames, Visible, type Scope } from './scope.js';
import { isAssignable, parseType, printType, type Field, type Type } from './types.js';

const INPUT_TYPES: { readonly [name: string]: string } = {
  i: 'int',
  j: 'int',
  d: 'number',
  e: 'number',
  s: 'string',
  t: 'string',
  b: 'bool',
  c: 'bool',
  li: 'list<int>',
  ls: 'list<string>',
  ld: 'list<number>',
  m: 'map<int>',
  rs: 'list<Recipe>',
};

const inputs: Type = {
  kind: 'record',
  label: 'inputs',
  fields: new Map<string, Field>(
    Object.entries(INPUT_TYPES).map(([name, type]) => [
      name,
      { type: parseType(type) ?? { kind: 'unknown' }, optional: false, summary: '' },
    ]),
  ),
};

function compile(text: string): { expr: Expr; type: Type } {
  const diagnostics = new Diagnostics(createSource('test', text));
  const scope: Scope = {
    inputs,
    run: { kind: 'record', label: 'run', fields: new Map() },
    names: new Map(),
    visible: new Visible(),
    facts: new Facts(),
    file: new FileNames(new Map(), new Set()),
  };
  const source = { text, toRange: (start: number, end: number) => ({ start, end }) };
  const { expr, type } = compileExpression(source, scope, diagnostics);
  expect(diagnostics.list(), text).toEqual([]);
  if (expr === null) throw new Error('not compiled');
  return { expr, type };
}

/** The oracle: the library with the same types, over the same values with its own integers. */
const oracle = new Environment()
  .registerType('Inputs', {
    fields: Object.fromEntries(
      Object.entries(INPUT_TYPES).map(([name, type]) => [
        name,
        type
          .replace('map<int>', 'map<string, int>')
          .replace('number', 'double')
          .replace('Recipe', 'map'),
      ]),
    ),
  })
  .registerVariable('inputs', 'Inputs');

function toOracle(values: JsonObject): Record<string, unknown> {
  const ints = (value: Json | undefined): unknown =>
    typeof value === 'number'
      ? BigInt(value)
      : Array.isArray(value)
        ? value.map(ints)
        : Object.fromEntries(
            Object.entries(value as JsonObject).map(([key, item]) => [key, ints(item)]),
          );
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      ['i', 'j', 'li', 'm'].includes(name) ? ints(value) : value,
    ]),
  );
}

/** Results as JSON; what JSON cannot hold is an error, as it is with us. */
function fromOracle(value: unknown): Json {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new Error('not finite');
    return value === 0 ? 0 : value;
  }
  if (Array.isArray(value)) return value.map(fromOracle);
  if (value instanceof Map) return fromOracle(Object.fromEntries(value));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromOracle(item)]));
  }
  return value as Json;
}

type Kind = 'int' | 'double' | 'string' | 'bool' | 'li' | 'ls' | 'ld' | 'm';

const literal: { readonly [kind in Kind]: fc.Arbitrary<string> } = {
  int: fc
    .oneof(fc.integer({ min: -9, max: 9 }), fc.integer({ min: -5_000_000, max: 5_000_000 }))
    .map((n) => `(${n})`),
  double: fc
    .double({ min: -1e6, max: 1e6, noNaN: true })
    .map((n) => `(${Number.isInteger(n) ? n.toFixed(1) : String(n)})`),
  string: fc
    .oneof(
      fc.constantFrom('a', 'ab', 'abc', '', '1', '-2.5', 'true', 'x'),
      fc.string({ unit: 'grapheme', maxLength: 5 }),
    )
    .map((s) => JSON.stringify(s)),
  bool: fc.constantFrom('true', 'false'),
  li: fc
    .array(fc.integer({ min: -3, max: 3 }), { maxLength: 3 })
    .map((l) => (l.length === 0 ? 'inputs.li' : `[${l.join(', ')}]`)),
  ls: fc
    .array(fc.constantFrom('a', 'b', 'ab'), { minLength: 1, maxLength: 3 })
    .map((l) => JSON.stringify(l)),
  ld: fc.constantFrom('[0.5, 1.5]', '[1.0]'),
  m: fc.constantFrom('{"a": 1}', '{"a": 1, "b": 2}', '{"b": 0}'),
};

const variable: { readonly [kind in Kind]: readonly string[] } = {
  int: ['inputs.i', 'inputs.j'],
  double: ['inputs.d', 'inputs.e'],
  string: ['inputs.s', 'inputs.t'],
  bool: ['inputs.b', 'inputs.c'],
  li: ['inputs.li'],
  ls: ['inputs.ls'],
  ld: ['inputs.ld'],
  m: ['inputs.m'],
};

const made = new Map<string, fc.Arbitrary<string>>();

/** CEL texts of a type; `names` are variables of macros around. */
function expression(
  kind: Kind,
  depth: number,
  names: { readonly [kind in Kind]?: string } = {},
): fc.Arbitrary<string> {
  const key = `${kind} ${depth} ${JSON.stringify(names)}`;
  const arbitrary = made.get(key) ?? createExpression(kind, depth, names);
  made.set(key, arbitrary);
  return arbitrary;
}

function createExpression(
  kind: Kind,
  depth: number,
  names: { readonly [kind in Kind]?: string },
): fc.Arbitrary<string> {
  const named = names[kind];
  const leaf = fc.oneof(
    literal[kind],
    fc.constantFrom(...variable[kind], ...(named === undefined ? [] : [named, named])),
  );
  if (depth === 0) return leaf;
  const at = (inner: Kind, more: { readonly [kind in Kind]?: string } = {}): fc.Arbitrary<string> =>
    expression(inner, depth - 1, { ...names, ...more });
  const format = (template: string, ...parts: fc.Arbitrary<string>[]): fc.Arbitrary<string> =>
    fc
      .tuple(...parts)
      .map((texts) =>
        texts.reduce((text, part, index) => text.replaceAll(`#${index}`, () => part), template),
      );
  const ternary = format('(#0 ? #1 : #2)', at('bool'), at(kind), at(kind));
  const binary = (inner: Kind, ...operators: string[]): fc.Arbitrary<string> =>
    fc
      .tuple(at(inner), fc.constantFrom(...operators), at(inner))
      .map(([a, op, b]) => `(${a} ${op} ${b})`);
  const v = `v${depth}`;
  const options: { readonly [kind in Kind]: fc.Arbitrary<string>[] } = {
    int: [
      binary('int', '+', '-', '*', '/', '%'),
      format('-#0', at('int')),
      fc
        .tuple(fc.constantFrom<Kind>('string', 'li', 'ls', 'm'), fc.boolean())
        .chain(([inner, isCall]) => format(isCall ? 'size(#0)' : '#0.size()', at(inner))),
      format('#0[#1]', at('li'), at('int')),
      format('#0[#1]', at('m'), at('string')),
      format('#0.a', at('m')),
      format('int(#0)', at('double')),
      format(
        'int(#0)',
        literal.string.filter((text) => text !== '""'),
      ),
    ],
    double: [
      binary('double', '+', '-', '*', '/'),
      format('-#0', at('double')),
      format('double(#0)', at('int')),
      format('#0[#1]', at('ld'), at('int')),
    ],
    string: [
      binary('string', '+'),
      format('#0[#1]', at('ls'), at('int')),
      ...(['int', 'double', 'bool', 'string'] as const).map((inner) =>
        format('string(#0)', at(inner)),
      ),
      format('inputs.rs[#0].name', at('int')),
      format('inputs.rs[#0].edits[#1].path', at('int'), at('int')),
    ],
    bool: [
      binary('bool', '&&', '||', '==', '!=', '<'),
      binary('int', '<', '<=', '>', '>=', '==', '!='),
      binary('double', '<', '<=', '>', '>=', '==', '!='),
      binary('string', '<', '<=', '>', '>=', '==', '!='),
      binary('li', '==', '!='),
      binary('m', '==', '!='),
      format('!#0', at('bool')),
      format('(#0 < #1)', at('int'), at('double')),
      format('(#0 in #1)', at('int'), at('li')),
      format('(#0 in #1)', at('string'), at('ls')),
      format('(#0 in #1)', at('string'), at('m')),
      fc
        .constantFrom('contains', 'startsWith', 'endsWith')
        .chain((name) => format(`#0.${name}(#1)`, at('string'), at('string'))),
      format('bool(#0)', literal.string),
      fc.constantFrom('has(inputs.m.a)', 'has(inputs.m.zz)', 'has(inputs.d)'),
      fc
        .constantFrom('all', 'exists', 'exists_one')
        .chain((name) =>
          fc.oneof(
            format(`#0.${name}(${v}, #1)`, at('li'), at('bool', { int: v })),
            format(`#0.${name}(${v}, #1)`, at('ls'), at('bool', { string: v })),
            format(`#0.${name}(${v}, #1)`, at('m'), at('bool', { string: v })),
            format(`inputs.rs.${name}(${v}, ${v}.name == #0)`, at('string')),
          ),
        ),
    ],
    li: [
      binary('li', '+'),
      format(`#0.filter(${v}, #1)`, at('li'), at('bool', { int: v })),
      format(`#0.map(${v}, #1)`, at('li'), at('int', { int: v })),
      format(`#0.map(${v}, #1, #2)`, at('ls'), at('bool', { string: v }), at('int', { string: v })),
      format('[#0, #1]', at('int'), at('int')),
    ],
    ls: [
      binary('ls', '+'),
      format(`#0.filter(${v}, #1)`, at('ls'), at('bool', { string: v })),
      format(`#0.map(${v}, #1)`, at('li'), at('string', { int: v })),
      format(`inputs.rs.filter(${v}, ${v}.name != #0).map(r, r.name)`, at('string')),
    ],
    ld: [binary('ld', '+'), format(`#0.map(${v}, #1)`, at('ld'), at('double', { double: v }))],
    m: [format('{#0: #1, "k": #2}', literal.string, at('int'), at('int'))],
  };
  return fc.oneof({ maxDepth: 3 }, leaf, ternary, ...options[kind]);
}

const word = fc.oneof(
  fc.constantFrom('a', 'ab', 'b', ''),
  fc.string({ unit: 'grapheme', maxLength: 4 }),
);
const scopes = fc.record({
  i: fc.integer({ min: -20, max: 20 }),
  j: fc.integer(),
  d: fc.double({ noNaN: true, noDefaultInfinity: true }),
  e: fc.constantFrom(0, 1, -1, 0.5, 2),
  s: word,
  t: word,
  b: fc.boolean(),
  c: fc.boolean(),
  li: fc.array(fc.integer({ min: -3, max: 3 }), { maxLength: 4 }),
  ls: fc.array(word, { maxLength: 4 }),
  ld: fc.array(fc.double({ min: -10, max: 10, noNaN: true }), { maxLength: 3 }),
  m: fc.dictionary(fc.constantFrom('a', 'b', 'k', 'ab'), fc.integer({ min: -9, max: 9 })),
  rs: fc.array(
    fc.record({
      name: word,
      edits: fc.array(fc.record({ path: word, find: word, replace: word }), { maxLength: 2 }),
    }),
    { maxLength: 3 },
  ),
});

const kinds: readonly Kind[] = ['int', 'double', 'string', 'bool', 'li', 'ls', 'ld', 'm'];

describe('expressions', () => {
  it('are evaluated as the library evaluates them, errors included', () => {
    const ends = { value: 0, error: 0, overflow: 0 };
    const cases = fc.tuple(
      fc.constantFrom(...kinds).chain((kind) => expression(kind, 3)),
      scopes,
    );
    fc.assert(
      fc.property(cases, ([text, values]) => {
        const ours = attempt(() => evaluate(compile(text).expr, { inputs: values }));
        // CEL's ints end at 2^63, ours at 2^53.
        if (ours.error?.includes('int overflow') === true) {
          ends.overflow += 1;
          return;
        }
        const theirs = attempt(() =>
          fromOracle(oracle.evaluate(text, { inputs: toOracle(values) })),
        );
        ends[ours.error === null ? 'value' : 'error'] += 1;
        if (ours.error !== null && theirs.error !== null) return;
        expect(ours, `${text}\n${JSON.stringify(theirs)}`).toEqual(theirs);
      }),
      { numRuns: 3_000, endOnFailure: true },
    );
    // Both ends must be common, or the comparison says little.
    expect(ends.value).toBeGreaterThan(1_000);
    expect(ends.error).toBeGreaterThan(100);
    expect(ends.overflow).toBeLessThan(1_000);
  });

  it('become plain JSON, with a type that their value has', () => {
    const cases = fc
      .constantFrom(...kinds)
      .chain((kind) => fc.tuple(fc.constant(kind), expression(kind, 2), scopes));
    fc.assert(
      fc.property(cases, ([kind, text, values]) => {
        const { expr, type } = compile(text);
        expect(JSON.parse(JSON.stringify(expr))).toEqual(expr);
        expect(isAssignable(type, typeNamed(TYPE_NAMES[kind])), text).toBe(true);
        // Texts that are written out are known one by one.
        if (kind !== 'string' && kind !== 'ls')
          expect(printType(type), text).toBe(TYPE_NAMES[kind]);
        const { value } = attempt(() => evaluate(expr, { inputs: values }));
        if (kind === 'int' && value !== undefined) expect(value).toSatisfy(Number.isSafeInteger);
        if (kind === 'string' && value !== undefined) expect(value).toBeTypeOf('string');
      }),
      { numRuns: 500 },
    );
  });
});

const TYPE_NAMES: { readonly [kind in Kind]: string } = {
  int: 'int',
  double: 'number',
  string: 'string',
  bool: 'bool',
  li: 'list<int>',
  ls: 'list<string>',
  ld: 'list<number>',
  m: 'map<int>',
};

function typeNamed(name: string): Type {
  const type = parseType(name);
  if (type === null) throw new Error(name);
  return type;
}

function attempt(body: () => Json): { readonly value?: Json; readonly error: string | null } {
  try {
    const value = body();
    return { value: JSON.parse(JSON.stringify(value)) as Json, error: null };
  } catch (error) {
    if (error instanceof ExpressionError) return { error: error.message };
    if (error instanceof Error && ['EvaluationError', 'TypeError'].includes(error.name))
      return { error: error.message };
    if (error instanceof Error && error.message === 'not finite') return { error: error.message };
    throw error;
  }
}
