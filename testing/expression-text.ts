/** An expression as its author could have written it, and what it read: for the message of an assertion that fails. */
import { evaluate, ExpressionError } from '../core/evaluate.js';
import type { Expr, Scope } from '../core/expression.js';
import { printExpression, printValue } from '../compiler/print-expression.js';

/** Most values that are shown of one assertion. */
const MAX_PARTS = 8;

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
