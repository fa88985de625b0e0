import type { ASTNode } from '@marcbachmann/cel-js';
import type { Expr } from '../core/expression.js';
import { MACROS } from './expression-functions.js';
import { pathOf } from './path.js';

type Report = (node: ASTNode, message: string, hint: string) => void;

const LOWERED: ReadonlyMap<string, string> = new Map([
  ['==', '_==_'],
  ['!=', '_!=_'],
  ['<', '_<_'],
  ['<=', '_<=_'],
  ['>', '_>_'],
  ['>=', '_>=_'],
  ['in', '_in_'],
  ['&&', '_&&_'],
  ['||', '_||_'],
]);

const NULL: Expr = { op: 'lit', value: null };

/**
 * The library's tree as the plain JSON that `core/evaluate.ts` runs. `typeName` gives the type that the library
 * found for a node; arithmetic takes the operator of that type. What JSON cannot hold is reported.
 */
export function lower(node: ASTNode, typeName: (node: ASTNode) => string, report: Report): Expr {
  const visit = (inner: ASTNode): Expr => lower(inner, typeName, report);
  switch (node.op) {
    case 'value':
      return literal(node, node.args, report);
    case 'id':
      return { op: 'name', name: node.args };
    case '.':
      return { op: 'member', of: visit(node.args[0]), key: node.args[1] };
    case '[]':
      return { op: 'index', of: visit(node.args[0]), by: visit(node.args[1]) };
    case 'list':
      return { op: 'list', items: node.args.map(visit) };
    case 'map':
      for (const [key] of node.args) {
        if (!['string', 'dyn'].includes(typeName(key))) {
          report(key, 'the keys of a map are text here', 'write the key in quotes');
        }
      }
      return { op: 'map', entries: node.args.map(([key, value]) => [visit(key), visit(value)]) };
    case '?:':
      return { op: 'call', fn: '_?_:_', args: node.args.map(visit) };
    case '!_':
      return { op: 'call', fn: '!_', args: [visit(node.args)] };
    case '-_':
      return {
        op: 'call',
        fn: `-_${kindOf(node, [node.args], typeName, report)}`,
        args: [visit(node.args)],
      };
    case 'call': {
      const [name, args] = node.args;
      const [argument] = args;
      if (name === 'has' && argument?.op === '.') return lowerHas(argument, visit);
      return { op: 'call', fn: name, args: args.map(visit) };
    }
    case 'rcall': {
      const [name, receiver, args] = node.args;
      if (!MACROS.has(name)) return { op: 'call', fn: name, args: [receiver, ...args].map(visit) };
      return lowerMacro(name as Macro, receiver, args, visit);
    }
    case '.?':
    case '[?]':
      report(node, 'optional access is not available', 'use `has(...)`');
      return NULL;
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
      return {
        op: 'call',
        fn: `_${node.op}_${kindOf(node, node.args, typeName, report)}`,
        args: node.args.map(visit),
      };
    default:
      return { op: 'call', fn: LOWERED.get(node.op) ?? node.op, args: node.args.map(visit) };
  }
}

type Macro = Extract<Expr, { op: 'comprehension' }>['macro'];

function literal(node: ASTNode, value: unknown, report: Report): Expr {
  if (value === null || typeof value === 'boolean' || typeof value === 'string')
    return { op: 'lit', value };
  if (typeof value === 'bigint') {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return { op: 'lit', value: number };
    report(node, 'this int is beyond ±2^53', 'JSON numbers hold no more');
    return NULL;
  }
  if (typeof value === 'number' && Number.isFinite(value)) return { op: 'lit', value };
  report(node, 'this literal has no JSON value', 'use text, int, number, true, false or null');
  return NULL;
}

/** `int`, `double`, `string` or `list`: what an operator works on, by the side whose type is known. */
function kindOf(
  node: ASTNode,
  operands: readonly ASTNode[],
  typeName: (node: ASTNode) => string,
  report: Report,
): string {
  for (const operand of operands) {
    const name = typeName(operand);
    if (['int', 'double', 'string'].includes(name)) return name;
    if (name.startsWith('list')) return 'list';
  }
  report(
    node,
    'it is not known what this works on',
    'say it with `int(...)`, `double(...)` or `string(...)`',
  );
  return 'double';
}

/** True when all of the path is there: `has(a.b.c)` is `has(a.b) && has(a.b.c)`. */
function lowerHas(path: ASTNode & { op: '.' }, visit: (node: ASTNode) => Expr): Expr {
  const [of, key] = path.args;
  const here: Expr = { op: 'has', of: visit(of), key };
  if (of.op !== '.' || pathOf(of) === null) return here;
  return { op: 'call', fn: '_&&_', args: [lowerHas(of, visit), here] };
}

function lowerMacro(
  macro: Macro,
  receiver: ASTNode,
  args: readonly ASTNode[],
  visit: (node: ASTNode) => Expr,
): Expr {
  const [variable, ...bodies] = args;
  const last = bodies.at(-1);
  const where = bodies.length === 2 ? bodies[0] : undefined;
  return {
    op: 'comprehension',
    macro,
    of: visit(receiver),
    as: variable?.op === 'id' ? variable.args : '',
    ...(where === undefined ? {} : { where: visit(where) }),
    body: last === undefined ? NULL : visit(last),
  };
}
