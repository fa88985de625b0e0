/** What expressions can see at one place of a plan. */
import { evaluate, evaluateTemplate } from './evaluate.js';
import type { Expr, Scope, Template } from './expression.js';
import type { Json } from './json.js';
import { expression, StepEnd } from './step-end.js';

/** Names and step outputs that expressions can see at one place. */
export interface Frame {
  readonly names: Scope;
  readonly steps: { [id: string]: Json };
}

export function scopeOf(frame: Frame): Scope {
  return { ...frame.names, steps: frame.steps };
}

/** The text for people that a step has; null without one. Ends the step with EXPRESSION_FAILED when it cannot be made. */
export function summaryOf(
  summary: Template | undefined,
  path: string,
  frame: Frame,
): string | null {
  if (summary === undefined) return null;
  const text = expression(path, 'summary', () => evaluateTemplate(summary, scopeOf(frame)));
  return typeof text === 'string' ? text : null;
}

/** The value of a condition; ends the step with EXPRESSION_FAILED when it is no bool. */
export function condition(path: string, expr: Expr, frame: Frame): boolean {
  const value = expression(path, 'if', () => evaluate(expr, scopeOf(frame)));
  if (typeof value === 'boolean') return value;
  throw new StepEnd(
    { code: 'EXPRESSION_FAILED', message: `The condition of ${path} is not a bool.`, step: path },
    'failed',
  );
}
