/** Conditions whose value is known before the run: as they read nothing, or as what was asked before settles them. */
import { evaluate, ExpressionError } from '../core/evaluate.js';
import type { Expr } from '../core/expression.js';
import { knownFrom } from './conditions.js';
import type { Diagnostics } from './diagnostic.js';
import type { ExpressionSource } from './references.js';
import type { Scope } from './scope.js';

export function warnOfConstant(
  expr: Expr | null,
  source: ExpressionSource,
  scope: Scope,
  diagnostics: Diagnostics,
): void {
  if (expr === null) return;
  const alone = valueAlone(expr);
  const value = alone ?? valueHere(expr, scope);
  if (value === null) return;
  diagnostics.warn(
    'CONDITION_CONSTANT',
    source.toRange(0, source.text.length),
    `this condition is always ${value}: ${alone === null ? 'what was asked before settles it' : 'it reads nothing that could change it'}`,
    'remove the condition, or ask for what may differ',
  );
}

/** Its value when it reads no name; null when it does, or fails. */
function valueAlone(expr: Expr): boolean | null {
  if (JSON.stringify(expr).includes('"op":"name"')) return null;
  try {
    const value = evaluate(expr, {});
    return typeof value === 'boolean' ? value : null;
  } catch (error) {
    if (error instanceof ExpressionError) return null;
    throw error;
  }
}

/** True when a condition certainly holds here: a step behind it runs as one without does. */
export function certainlyHolds(expr: Expr | null, scope: Scope): boolean {
  if (expr === null) return false;
  if (expr.op === 'has') {
    const path = pathOf(expr);
    return path !== null && scope.facts.has(path);
  }
  if (expr.op === 'call' && expr.fn === '_&&_')
    return expr.args.every((part) => certainlyHolds(part, scope));
  return valueHere(expr, scope) === true;
}

function pathOf(expr: Expr): string | null {
  if (expr.op === 'name') return expr.name;
  if (expr.op !== 'has' && expr.op !== 'member') return null;
  const of = pathOf(expr.of);
  return of === null ? null : `${of}.${expr.key}`;
}

/** Its value by what is known of conditions here; null when that says nothing. */
function valueHere(expr: Expr, { facts }: Scope): boolean | null {
  const [whenTrue] = knownFrom(expr, true);
  const [whenFalse] = knownFrom(expr, false);
  if (whenTrue !== undefined && facts.has(whenTrue)) return true;
  return whenFalse !== undefined && facts.has(whenFalse) ? false : null;
}
