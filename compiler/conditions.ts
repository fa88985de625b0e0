/**
 * Conditions as facts. What a condition reads never changes once it can be read, so where it was true it is true again:
 * a step behind `if: inputs.publish` has certainly run at every place behind the same condition.
 */
import type { Expr } from '../core/expression.js';

const MARK = 'if ';
const IMPLIES = ' \u2192 ';

/** The facts that hold where the condition is true, or false. */
export function knownFrom(expr: Expr | null, truth: boolean): string[] {
  if (expr === null || readsRun(expr)) return [];
  if (expr.op === 'call' && expr.fn === '!_') return knownFrom(expr.args[0] ?? null, !truth);
  const parts = expr.op === 'call' && expr.fn === (truth ? '_&&_' : '_||_') ? expr.args : [];
  return [keyOf(expr, truth), ...parts.flatMap((part) => knownFrom(part, truth))];
}

/** The facts that say: where the condition is true, or false, these paths exist. */
export function impliedBy(expr: Expr | null, truth: boolean, paths: Iterable<string>): string[] {
  const [key] = knownFrom(expr, truth);
  if (key === undefined) return [];
  return [...paths].filter((path) => !path.startsWith(MARK)).map((path) => key + IMPLIES + path);
}

/** The path that exists where the condition of the key holds; null for a fact that is not of this kind. */
export function readFact(fact: string): { readonly key: string; readonly path: string } | null {
  if (!fact.startsWith(MARK)) return null;
  const at = fact.lastIndexOf(IMPLIES);
  // Ids and members hold no such sign, so the last one is ours, unless it stands in a text of the condition.
  const path = at === -1 ? '' : fact.slice(at + IMPLIES.length);
  return /^[\w.]+$/.test(path) ? { key: fact.slice(0, at), path } : null;
}

/** True for what is known of a condition, or by one, unless it speaks of this name. */
export function isAboutCondition(fact: string, name: string): boolean {
  return fact.startsWith(MARK) && !fact.includes(JSON.stringify({ op: 'name', name }));
}

function readsRun(expr: Expr): boolean {
  return JSON.stringify(expr).includes(JSON.stringify({ op: 'name', name: 'run' }));
}

function keyOf(expr: Expr, truth: boolean): string {
  return `${MARK}${truth ? '' : '!'}${JSON.stringify(expr)}`;
}
