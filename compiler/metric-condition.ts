/** Conditions over the metrics of a running program, such as `stop_when`: bare CEL whose scope is `metrics` alone. */
import type { Expr } from '../core/expression.js';
import { createSource, Diagnostics } from './diagnostic.js';
import { compileExpression, type CompiledExpression } from './expression.js';
import type { ExpressionSource } from './references.js';
import { Facts } from './facts.js';
import { FileNames, Visible, type Scope } from './scope.js';
import { NUMBER, printType, type Type } from './types.js';

const NOTHING: Type = { kind: 'record', label: 'nothing', fields: new Map() };

/** What such a condition sees: `metrics`, a map of the latest numbers by name. */
function metricScope(): Scope {
  return {
    inputs: NOTHING,
    run: NOTHING,
    names: new Map<string, Type>([['metrics', { kind: 'map', of: NUMBER }]]),
    namesOnly: true,
    visible: new Visible(),
    facts: new Facts(),
    file: new FileNames(new Map(), new Set()),
  };
}

/** Compiles a condition that stands in a file; what is wrong with it goes to `diagnostics`. */
export function compileMetricCondition(
  source: ExpressionSource,
  diagnostics: Diagnostics,
): Expr | null {
  const scope = metricScope();
  const before = diagnostics.size;
  const compiled: CompiledExpression = compileExpression(source, scope, diagnostics);
  scope.file.report(diagnostics);
  if (compiled.expr === null || diagnostics.size > before) return null;
  const { kind } = compiled.type;
  if (kind === 'bool' || kind === 'any') return compiled.expr;
  diagnostics.add(
    'EXPRESSION_TYPE',
    source.toRange(0, source.text.length),
    `a condition is true or false; this gives ${printType(compiled.type)}`,
    'compare a metric with something: `metrics.loss < 2.5`',
  );
  return null;
}

/** Compiles a condition that came as a value: its tree, or what is wrong with it. */
export function readMetricCondition(
  text: string,
): { readonly expr: Expr } | { readonly problem: string; readonly hint: string } {
  const diagnostics = new Diagnostics(createSource('condition', text));
  const expr = compileMetricCondition(
    { text, toRange: (start, end) => ({ start, end }) },
    diagnostics,
  );
  if (expr !== null) return { expr };
  const first = diagnostics.list()[0];
  return { problem: first?.message ?? 'it cannot be read', hint: first?.hint ?? '' };
}
