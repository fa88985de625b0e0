/**
 * Conditions as facts. What a condition reads never changes once it can be read, so where it was true it is true again:
 * a step behind `if: inputs.publish` has certainly run at every place behind the same condition.
 */
import type { Expr } from '../core/expression.js';

const MARK = 'if ';
const IMPLIES = ' \u2192 ';
const RUN = JSON.stringify({ op: 'name', name: 'run' });

/** Of a condition with more parts the whole and each part is known; with fewer also what is between, as `a && b`. */
const MOST_PARTS = 40;

/** A condition that is broken, which is told: what stands behind one may be right wherever one is asked. */
const BROKEN: Expr = { op: 'name', name: '' };

/** The facts that hold where the condition is true, or false; of one that is broken it is null. */
export function knownFrom(condition: Expr | null, truth: boolean): string[] {
  const expr = condition ?? BROKEN;
  if (readsRun(expr)) return [];
  const turned = expr.op === 'call' ? turn(expr.fn, expr.args) : null;
  if (turned !== null) return knownFrom(turned.expr, truth === turned.isSame);
  const fn = truth ? '_&&_' : '_||_';
  const key = keyOf(expr, truth);
  if (expr.op !== 'call' || expr.fn !== fn) return [key];
  const single = singleParts(expr, fn);
  const parts = single.length > MOST_PARTS ? single : expr.args;
  return [key, ...parts.flatMap((part) => knownFrom(part, truth))];
}

/** What `&&` or `||` connects, however it is nested. */
function singleParts(expr: Expr, fn: string): readonly Expr[] {
  const parts: Expr[] = [];
  const left = [expr];
  for (let part = left.pop(); part !== undefined; part = left.pop()) {
    if (part.op === 'call' && part.fn === fn) left.push(...part.args.toReversed());
    else parts.push(part);
  }
  return parts;
}

/** The plainer condition that says the same, or the opposite; null where there is none. */
function turn(fn: string, args: readonly Expr[]): { expr: Expr; isSame: boolean } | null {
  const [left, right] = args;
  if (left === undefined) return null;
  if (fn === '!_') return { expr: left, isSame: false };
  if (right === undefined || (fn !== '_==_' && fn !== '_!=_')) return null;
  const isSame = fn === '_==_';
  if (right.op === 'lit' && typeof right.value === 'boolean')
    return { expr: left, isSame: isSame === right.value };
  // What is written out stands on the right.
  if (left.op === 'lit' && right.op !== 'lit')
    return { expr: { op: 'call', fn, args: [right, left] }, isSame: true };
  return isSame ? null : { expr: { op: 'call', fn: '_==_', args }, isSame: false };
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
  return /^[\w.]+!?$/.test(path) ? { key: fact.slice(0, at), path } : null;
}

/** True for what is known of a condition, or by one, unless it speaks of this name. */
export function isAboutCondition(fact: string, name: string): boolean {
  return fact.startsWith(MARK) && !fact.includes(JSON.stringify({ op: 'name', name }));
}

/** The key that says that this one's condition is not so; null for what is no key. */
export function opposite(key: string): string | null {
  if (!key.startsWith(MARK) || key.includes(IMPLIES)) return null;
  const isNot = key.startsWith('!', MARK.length);
  return isNot ? MARK + key.slice(MARK.length + 1) : `${MARK}!${key.slice(MARK.length)}`;
}

/** True for a fact that means the same at every place of a file: it reads nothing but inputs and steps. */
export function isAboutFile(fact: string): boolean {
  if (!fact.startsWith(MARK)) return /^(?:inputs|steps)\./.test(fact);
  return [...fact.matchAll(/"op":"name","name":"(\w*)"/g)].every(
    ([, name]) => name === 'inputs' || name === 'steps',
  );
}

function readsRun(expr: Expr): boolean {
  return textOf(expr).includes(RUN);
}

function keyOf(expr: Expr, truth: boolean): string {
  return `${MARK}${truth ? '' : '!'}${textOf(expr)}`;
}

/** A condition is asked for several times: of itself, and by what stands behind it. */
const texts = new WeakMap<Expr, string>();

function textOf(expr: Expr): string {
  const known = texts.get(expr);
  if (known !== undefined) return known;
  const text = JSON.stringify(expr);
  texts.set(expr, text);
  return text;
}
