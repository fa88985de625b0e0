/** An expression as its author could have written it, and what it read: for the message of an assertion that fails. */
import { evaluate, ExpressionError } from '../core/evaluate.js';
import type { Expr, Scope } from '../core/expression.js';
import type { Json } from '../core/json.js';

/** Longest value that is shown, in characters. */
const MAX_VALUE_LENGTH = 300;

/** Most values that are shown of one assertion. */
const MAX_PARTS = 8;

const INFIX = /^_(&&|\|\||==|!=|<=|>=|<|>|in|\+|-|\*|\/|%)_(?:int|double|string|list)?$/;

/** What made an assertion false or broke it: its parts with their values, the first that is decisive alone. */
export function explain(expr: Expr, scope: Scope): string[] {
  const decisive = findDecisive(expr, scope);
  const told = new Map<string, string>();
  for (const part of partsOf(decisive)) {
    const text = printExpression(part);
    if (!told.has(text)) told.set(text, `${text} ${valueOf(part, scope)}`);
  }
  return [...told.values()].slice(0, MAX_PARTS);
}

/** Of parts that must all be true the first that is not. */
function findDecisive(expr: Expr, scope: Scope): Expr {
  if (expr.op !== 'call') return expr;
  if (expr.fn === '!_' && expr.args[0] !== undefined) return expr.args[0];
  const [left, right] = expr.args;
  if (expr.fn !== '_&&_' || left === undefined || right === undefined) return expr;
  return findDecisive(isTrue(left, scope) ? right : left, scope);
}

function isTrue(expr: Expr, scope: Scope): boolean {
  try {
    return evaluate(expr, scope) === true;
  } catch (error) {
    if (error instanceof ExpressionError) return false;
    throw error;
  }
}

/** The sides of a comparison, the arguments of a call; else the expression itself. Literals say what they are. */
function partsOf(expr: Expr): Expr[] {
  if (expr.op === 'lit') return [];
  const isSplit = expr.op === 'call' && expr.fn !== 'size';
  if (expr.op === 'comprehension') return [expr, ...partsOf(expr.of)];
  return isSplit ? expr.args.flatMap(partsOf) : [expr];
}

function valueOf(expr: Expr, scope: Scope): string {
  try {
    return `is ${printValue(evaluate(expr, scope))}`;
  } catch (error) {
    if (error instanceof ExpressionError) return `cannot be read: ${error.message}`;
    throw error;
  }
}

function printValue(value: Json): string {
  const text = JSON.stringify(value);
  return text.length <= MAX_VALUE_LENGTH ? text : `${text.slice(0, MAX_VALUE_LENGTH)}…`;
}

/** An expression as text; what was written differently may come out the same. */
export function printExpression(expr: Expr): string {
  switch (expr.op) {
    case 'lit':
      return printValue(expr.value);
    case 'name':
      return expr.name;
    case 'member':
      return `${printExpression(expr.of)}.${expr.key}`;
    case 'index':
      return `${printExpression(expr.of)}[${printExpression(expr.by)}]`;
    case 'has':
      return `has(${printExpression(expr.of)}.${expr.key})`;
    case 'list':
      return `[${expr.items.map(printExpression).join(', ')}]`;
    case 'map':
      return `{${expr.entries.map(([key, value]) => `${printExpression(key)}: ${printExpression(value)}`).join(', ')}}`;
    case 'call':
      return printCall(expr.fn, expr.args.map(printExpression));
    case 'comprehension': {
      const bodies = [expr.where, expr.body].filter((body) => body !== undefined);
      return `${printExpression(expr.of)}.${expr.macro}(${[expr.as, ...bodies.map(printExpression)].join(', ')})`;
    }
  }
}

function printCall(fn: string, args: readonly string[]): string {
  const infix = INFIX.exec(fn)?.[1];
  if (infix !== undefined) return `(${args.join(` ${infix} `)})`;
  if (fn === '!_') return `!${args[0] ?? ''}`;
  if (fn.startsWith('-_')) return `-${args[0] ?? ''}`;
  if (fn === '_?_:_') return `(${args[0] ?? ''} ? ${args[1] ?? ''} : ${args[2] ?? ''})`;
  return `${fn}(${args.join(', ')})`;
}
