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

/** Its value by what is known of conditions here; null when that says nothing. */
function valueHere(expr: Expr, { facts }: Scope): boolean | null {
  const [whenTrue] = knownFrom(expr, true);
  const [whenFalse] = knownFrom(expr, false);
  if (whenTrue !== undefined && facts.has(whenTrue)) return true;
  return whenFalse !== undefined && facts.has(whenFalse) ? false : null;
}
