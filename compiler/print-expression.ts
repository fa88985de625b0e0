/** An expression as its author could have written it. */
import type { Expr } from '../core/expression.js';
import type { Json } from '../core/json.js';

/** Longest value that is shown, in characters. */
const MAX_VALUE_LENGTH = 300;

const INFIX = /^_(&&|\|\||==|!=|<=|>=|<|>|in|\+|-|\*|\/|%)_(?:int|double|string|list)?$/;

/** Its brackets may be others than those in the file. */
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

/** As JSON, cut where it is long. */
export function printValue(value: Json): string {
  const text = JSON.stringify(value);
  return text.length <= MAX_VALUE_LENGTH ? text : `${text.slice(0, MAX_VALUE_LENGTH)}…`;
}
