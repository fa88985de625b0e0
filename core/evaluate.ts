/**
 * Runs the expressions of a Plan over plain JSON: CEL, as `@marcbachmann/cel-js` understands it, which a
 * property test holds equal to this file.
 *
 * Invariants:
 * 1. Pure: no time, no randomness, no environment, no locale, nothing outside ES2022. Safe in the sandbox.
 * 2. Every number is a JSON number. CEL tells `int` from `double`, JSON does not; so the compiler, which knows the
 *    types, picks the operator (`_/_int`, `_/_double`), and no value carries its kind. An int that leaves ±2^53 is
 *    an error, where CEL's own limit is 2^63. Equality and order compare numbers by value, whatever their kind.
 * 3. Bounded: at most `MAX_ITERATIONS` turns of macros, `MAX_WORK` values looked at, `MAX_RESULT_BYTES` of result.
 * 4. The only error it throws is `ExpressionError`; a result is always JSON (never NaN or an infinity).
 */
import type { Expr, Scope, Template } from './expression.js';
import { isJsonObject, type Json, type JsonObject } from './json.js';

/** Most turns of `all`, `exists`, `exists_one`, `map` and `filter` in one evaluation, nested ones counted. */
export const MAX_ITERATIONS = 100_000;

/** Most values that one evaluation may compare, join or copy. */
const MAX_WORK = 2_000_000;

/** Largest result of one evaluation, as JSON text, roughly in bytes. */
export const MAX_RESULT_BYTES = 1024 * 1024;

/** An expression that cannot be evaluated over these values; a step that reads it ends as EXPRESSION_FAILED. */
export class ExpressionError extends Error {
  /** True for a limit of this file: `&&`, `||`, `all` and `exists` absorb an error of a value, never this. */
  readonly limit: boolean;

  constructor(message: string, options: { limit?: boolean } = {}) {
    super(message);
    this.name = 'ExpressionError';
    this.limit = options.limit ?? false;
  }
}

/** The value of an expression. Throws an `ExpressionError`, and nothing else. */
export function evaluate(expr: Expr, scope: Scope): Json {
  const result = run(expr, createFrame(scope));
  assertResult(result);
  return result;
}

/** The value of a template: its expressions evaluated, the rest as it stands. */
export function evaluateTemplate(template: Template, scope: Scope): Json {
  switch (template.t) {
    case 'value':
      return template.value;
    case 'expr':
      return evaluate(template.expr, scope);
    case 'text': {
      const text = template.parts
        .map((part) => (typeof part === 'string' ? part : toText(evaluate(part, scope))))
        .join('');
      assertResult(text);
      return text;
    }
    case 'list':
      return template.items.map((item) => evaluateTemplate(item, scope));
    case 'map':
      return toObject(
        template.entries.map(([key, value]) => [key, evaluateTemplate(value, scope)] as const),
      );
  }
}

interface Frame {
  readonly scope: Scope;
  /** Names bound by macros around this place, innermost first. */
  readonly bound: Binding | null;
  readonly budget: { iterations: number; work: number };
}

interface Binding {
  readonly name: string;
  readonly value: Json;
  readonly outer: Binding | null;
}

function createFrame(scope: Scope): Frame {
  return { scope, bound: null, budget: { iterations: MAX_ITERATIONS, work: MAX_WORK } };
}

function bind(frame: Frame, name: string, value: Json): Frame {
  if (--frame.budget.iterations < 0) {
    throw new ExpressionError(`more than ${MAX_ITERATIONS} iterations`, { limit: true });
  }
  return { ...frame, bound: { name, value, outer: frame.bound } };
}

function spend(frame: Frame, work: number): void {
  frame.budget.work -= work;
  if (frame.budget.work < 0) {
    throw new ExpressionError('more work than one expression may do', { limit: true });
  }
}

function run(expr: Expr, frame: Frame): Json {
  spend(frame, 1);
  switch (expr.op) {
    case 'lit':
      return expr.value;
    case 'name':
      return lookUp(expr.name, frame);
    case 'member':
      return member(run(expr.of, frame), expr.key);
    case 'index':
      return index(run(expr.of, frame), run(expr.by, frame));
    case 'has': {
      const value = run(expr.of, frame);
      return isJsonObject(value) && Object.hasOwn(value, expr.key);
    }
    case 'list':
      return expr.items.map((item) => run(item, frame));
    case 'map':
      return toObject(
        expr.entries.map(([key, value]) => {
          const name = run(key, frame);
          if (typeof name !== 'string') throw new ExpressionError('a map key is not a string');
          return [name, run(value, frame)] as const;
        }),
      );
    case 'call':
      return call(expr.fn, expr.args, frame);
    case 'comprehension':
      return comprehend(expr, frame);
  }
}

function lookUp(name: string, frame: Frame): Json {
  for (let bound = frame.bound; bound !== null; bound = bound.outer) {
    if (bound.name === name) return bound.value;
  }
  const value = Object.hasOwn(frame.scope, name) ? frame.scope[name] : undefined;
  if (value === undefined) throw new ExpressionError(`there is no \`${name}\` here`);
  return value;
}

function member(of: Json, key: string): Json {
  if (!isJsonObject(of)) {
    throw new ExpressionError(`\`${key}\` was read from ${describe(of)}, which has no members`);
  }
  const value = Object.hasOwn(of, key) ? of[key] : undefined;
  if (value === undefined) throw new ExpressionError(`there is no member \`${key}\``);
  return value;
}

function index(of: Json, by: Json): Json {
  if (!Array.isArray(of)) {
    if (typeof by !== 'string') throw new ExpressionError(`${describe(by)} is not a key`);
    return member(of, by);
  }
  if (typeof by !== 'number') throw new ExpressionError(`a list index is ${describe(by)}`);
  const value = of[by];
  if (value === undefined) {
    throw new ExpressionError(`index ${by} is out of range: the list has ${of.length} items`);
  }
  return value;
}

/** Functions that see the expressions of their arguments, since they may leave one out. */
function call(fn: string, args: readonly Expr[], frame: Frame): Json {
  if (fn === '_&&_') return absorb(false, args, frame);
  if (fn === '_||_') return absorb(true, args, frame);
  if (fn === '_?_:_') {
    const [test, then, otherwise] = args as readonly [Expr, Expr, Expr];
    return run(asBool(run(test, frame)) ? then : otherwise, frame);
  }
  const apply = Object.hasOwn(FUNCTIONS, fn) ? FUNCTIONS[fn] : undefined;
  if (apply === undefined) throw new ExpressionError(`there is no function \`${fn}\``);
  const values = args.map((arg) => run(arg, frame));
  return apply(values[0] ?? null, values[1] ?? null, frame);
}

/** `&&` (decisive: false) and `||` (decisive: true): a side that decides wins over an error of the other. */
function absorb(decisive: boolean, args: readonly Expr[], frame: Frame): boolean {
  const [left, right] = args as readonly [Expr, Expr];
  const first = attempt(left, frame);
  if (first === decisive) return decisive;
  const second = attempt(right, frame);
  if (second === decisive) return decisive;
  for (const side of [first, second]) {
    if (side instanceof ExpressionError) throw side;
    asBool(side);
  }
  return !decisive;
}

function attempt(expr: Expr, frame: Frame): Json | ExpressionError {
  try {
    return run(expr, frame);
  } catch (error) {
    if (error instanceof ExpressionError && !error.limit) return error;
    throw error;
  }
}

function comprehend(expr: Extract<Expr, { op: 'comprehension' }>, frame: Frame): Json {
  const range = run(expr.of, frame);
  if (!Array.isArray(range) && !isJsonObject(range)) {
    throw new ExpressionError(
      `\`${expr.macro}\` runs over a list or a map, not ${describe(range)}`,
    );
  }
  const items = Array.isArray(range) ? range : Object.keys(range);
  switch (expr.macro) {
    case 'all':
      return quantify(false, items, expr, frame);
    case 'exists':
      return quantify(true, items, expr, frame);
    case 'exists_one':
      return (
        items.filter((item) => asBool(run(expr.body, bind(frame, expr.as, item)))).length === 1
      );
    case 'filter':
      return items.filter((item) => asBool(run(expr.body, bind(frame, expr.as, item))));
    case 'map': {
      const results: Json[] = [];
      for (const item of items) {
        const inner = bind(frame, expr.as, item);
        if (expr.where === undefined || asBool(run(expr.where, inner))) {
          results.push(run(expr.body, inner));
        }
      }
      return results;
    }
  }
}

/** `all` (decisive: false) and `exists` (decisive: true): one deciding item wins over errors of the others. */
function quantify(
  decisive: boolean,
  items: readonly Json[],
  expr: Extract<Expr, { op: 'comprehension' }>,
  frame: Frame,
): boolean {
  let failure: ExpressionError | null = null;
  for (const item of items) {
    const result = attempt(expr.body, bind(frame, expr.as, item));
    if (result === decisive) return decisive;
    if (result instanceof ExpressionError) failure ??= result;
    else if (typeof result !== 'boolean') failure ??= notBool(result);
  }
  if (failure !== null) throw failure;
  return !decisive;
}

type Apply = (a: Json, b: Json, frame: Frame) => Json;

const FUNCTIONS: { readonly [name: string]: Apply } = {
  '!_': (a) => !asBool(a),
  '-_int': (a) => asInt(-asInt(a)),
  '-_double': (a) => -asNumber(a),
  '_+_int': (a, b) => asInt(asInt(a) + asInt(b)),
  '_-_int': (a, b) => asInt(asInt(a) - asInt(b)),
  '_*_int': (a, b) => asInt(asInt(a) * asInt(b)),
  '_/_int': (a, b) => Math.trunc(asInt(a) / asDivisor(b)),
  '_%_int': (a, b) => asInt(a) % asDivisor(b),
  '_+_double': (a, b) => asNumber(a) + asNumber(b),
  '_-_double': (a, b) => asNumber(a) - asNumber(b),
  '_*_double': (a, b) => asNumber(a) * asNumber(b),
  '_/_double': (a, b) => asNumber(a) / asNumber(b),
  '_+_string': (a, b, frame) => {
    const text = asString(a) + asString(b);
    if (text.length > MAX_RESULT_BYTES) throw tooLarge();
    spend(frame, text.length >> 6);
    return text;
  },
  '_+_list': (a, b, frame) => {
    const list = [...asList(a), ...asList(b)];
    spend(frame, list.length);
    return list;
  },
  '_==_': (a, b, frame) => isEqual(a, b, frame),
  '_!=_': (a, b, frame) => !isEqual(a, b, frame),
  '_<_': (a, b) => compare(a, b, (x, y) => x < y),
  '_<=_': (a, b) => compare(a, b, (x, y) => x <= y),
  '_>_': (a, b) => compare(a, b, (x, y) => x > y),
  '_>=_': (a, b) => compare(a, b, (x, y) => x >= y),
  _in_: (a, b, frame) => {
    if (Array.isArray(b)) return b.some((item) => isEqual(a, item, frame));
    if (isJsonObject(b)) return typeof a === 'string' && Object.hasOwn(b, a);
    throw new ExpressionError(`\`in\` looks into a list or a map, not ${describe(b)}`);
  },
  size: (a) => {
    if (typeof a === 'string') return Array.from(a).length;
    if (Array.isArray(a)) return a.length;
    if (isJsonObject(a)) return Object.keys(a).length;
    throw new ExpressionError(`${describe(a)} has no size`);
  },
  contains: (a, b) => asString(a).includes(asString(b)),
  startsWith: (a, b) => asString(a).startsWith(asString(b)),
  endsWith: (a, b) => asString(a).endsWith(asString(b)),
  string: (a) => toText(a),
  int: (a) => toInt(a),
  double: (a) => toDouble(a),
  bool: (a) => toBool(a),
};

function asBool(value: Json): boolean {
  if (typeof value === 'boolean') return value;
  throw notBool(value);
}

function notBool(value: Json): ExpressionError {
  return new ExpressionError(`true or false is needed, not ${describe(value)}`);
}

function asNumber(value: Json): number {
  if (typeof value === 'number') return value;
  throw new ExpressionError(`a number is needed, not ${describe(value)}`);
}

function asInt(value: Json): number {
  const number = asNumber(value);
  if (Number.isSafeInteger(number)) return number;
  throw new ExpressionError(
    Number.isInteger(number)
      ? `int overflow: ${number} is beyond ±${Number.MAX_SAFE_INTEGER}`
      : `an int is needed, not ${number}`,
  );
}

function asDivisor(value: Json): number {
  const divisor = asInt(value);
  if (divisor === 0) throw new ExpressionError('division by zero');
  return divisor;
}

function asString(value: Json): string {
  if (typeof value === 'string') return value;
  throw new ExpressionError(`a string is needed, not ${describe(value)}`);
}

function asList(value: Json): Json[] {
  if (Array.isArray(value)) return value;
  throw new ExpressionError(`a list is needed, not ${describe(value)}`);
}

type Ordered = number | string | boolean;

function compare(a: Json, b: Json, test: (a: Ordered, b: Ordered) => boolean): boolean {
  if (isOrdered(a) && isOrdered(b) && typeof a === typeof b) return test(a, b);
  throw new ExpressionError(`${describe(a)} and ${describe(b)} have no order`);
}

function isOrdered(value: Json): value is Ordered {
  return typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean';
}

function isEqual(a: Json, b: Json, frame: Frame): boolean {
  spend(frame, 1);
  if (a === b) return true;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, at) => isEqual(item, b[at] as Json, frame));
  }
  if (!isJsonObject(a) || !isJsonObject(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every(
    (key) => Object.hasOwn(b, key) && isEqual(a[key] as Json, b[key] as Json, frame),
  );
}

function toText(value: Json): string {
  switch (typeof value) {
    case 'string':
      return value;
    case 'boolean':
      return String(value);
    case 'number':
      if (value === Infinity) return '+Inf';
      return value === -Infinity ? '-Inf' : String(value);
    default:
      throw new ExpressionError(`${describe(value)} cannot be written as text`);
  }
}

function toInt(value: Json): number {
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return asInt(Math.trunc(value));
  } else if (typeof value === 'string' && /^[+-]?\d{1,19}$/.test(value)) {
    return asInt(Number(value));
  }
  throw new ExpressionError(`${describe(value)} is not an int`);
}

const NAMED_DOUBLES: { readonly [text: string]: number } = {
  inf: Infinity,
  '+inf': Infinity,
  infinity: Infinity,
  '+infinity': Infinity,
  '-inf': -Infinity,
  '-infinity': -Infinity,
  nan: NaN,
};

function toDouble(value: Json): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'string') {
    const named = value.toLowerCase();
    if (Object.hasOwn(NAMED_DOUBLES, named)) return NAMED_DOUBLES[named] as number;
    if (/^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(value)) return Number(value);
  }
  throw new ExpressionError(`${describe(value)} is not a number`);
}

function toBool(value: Json): boolean {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string') {
    if (['1', 't', 'true', 'TRUE', 'True'].includes(value)) return true;
    if (['0', 'f', 'false', 'FALSE', 'False'].includes(value)) return false;
  }
  throw new ExpressionError(`${describe(value)} is not true or false`);
}

function toObject(entries: ReadonlyArray<readonly [string, Json]>): JsonObject {
  const object: JsonObject = {};
  for (const [key, value] of entries) {
    // Assigned, it would set the prototype and be lost.
    if (key === '__proto__') throw new ExpressionError('`__proto__` is not a key');
    object[key] = value;
  }
  return object;
}

/** A value for a message: its kind, and the value itself only where it is short. */
function describe(value: Json): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'a map';
  if (typeof value === 'string') {
    return value.length <= 40 ? `the string ${JSON.stringify(value)}` : 'a long string';
  }
  return `${typeof value === 'number' ? 'the number' : 'the bool'} ${String(value)}`;
}

function tooLarge(): ExpressionError {
  return new ExpressionError(`the result is larger than ${MAX_RESULT_BYTES} bytes`, {
    limit: true,
  });
}

/** Refuses what JSON cannot hold, and results beyond the size limit, shared parts counted each time. */
function assertResult(result: Json): void {
  let left = MAX_RESULT_BYTES;
  const visit = (value: Json): void => {
    left -= 4;
    if (typeof value === 'string') left -= value.length;
    if (left < 0) throw tooLarge();
    if (typeof value === 'number' && !Number.isFinite(value)) {
      throw new ExpressionError(`the result ${value} is not a finite number`);
    }
    if (Array.isArray(value)) value.forEach(visit);
    else if (isJsonObject(value)) {
      for (const [key, part] of Object.entries(value)) {
        left -= key.length;
        visit(part);
      }
    }
  };
  visit(result);
}
