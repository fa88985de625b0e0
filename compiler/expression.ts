/**
 * A CEL text to the tree that a Plan carries. The library parses it and checks its operators and functions; this
 * file resolves names and members, decides what certainly exists, and picks int or double operators.
 *
 * Where this differs from CEL: `has(a.b.c)` is false when `a.b` is not there (CEL: an error); a branch of `?:` may be
 * `null`; maps have text keys; numbers are JSON numbers (core/evaluate.ts).
 */
import { ParseError, type ASTNode, type Environment, type ParseResult } from '@marcbachmann/cel-js';
import type { Expr } from '../core/expression.js';
import { celTypes, RECORD_PREFIX, typeNameOf } from './cel-types.js';
import type { Diagnostics } from './diagnostic.js';
import {
  bracedIn,
  explainParseError,
  explainTypeMessage,
  operatorHint,
} from './explain-expression.js';
import { NOTHING, type Facing } from './facing.js';
import { lower } from './lower.js';
import { pathOf } from './path.js';
import { References, type ExpressionSource } from './references.js';
import type { Scope } from './scope.js';
import { ANY, UNKNOWN, type Type } from './types.js';

/** Longest expression, in characters. */
const MAX_EXPRESSION_LENGTH = 8_192;

export interface CompiledExpression {
  /** Null when something about it is reported. */
  readonly expr: Expr | null;
  readonly type: Type;
  /** Paths that exist when it is true, and when it is false. */
  readonly whenTrue: ReadonlySet<string>;
  readonly whenFalse: ReadonlySet<string>;
}

const FAILED: CompiledExpression = {
  expr: null,
  type: UNKNOWN,
  whenTrue: NOTHING,
  whenFalse: NOTHING,
};

export function compileExpression(
  source: ExpressionSource,
  scope: Scope,
  diagnostics: Diagnostics,
): CompiledExpression {
  const { text, toRange } = source;
  if (text.length > MAX_EXPRESSION_LENGTH) {
    diagnostics.add(
      'EXPRESSION_SYNTAX',
      toRange(0, 20),
      `the expression is ${text.length} characters long; at most ${MAX_EXPRESSION_LENGTH} are read`,
      'move the work into a step',
    );
    return FAILED;
  }
  // `steps.find-task.task` would be a subtraction; what is wrong is told where the id stands.
  if (scope.file.readsIllFormed(text)) return FAILED;
  const types = celTypes();
  const parsed = parse(text, types.environment, source, diagnostics);
  if (parsed === null) return FAILED;
  const { ast } = parsed;

  const before = diagnostics.size;
  const references = new References(source, scope, diagnostics);
  const facing = references.resolve(ast);
  // What a broken condition asks for is certain behind it all the same: one mistake is told once.
  const failed: CompiledExpression = { ...FAILED, ...factsOf(facing) };
  if (diagnostics.size > before || references.sawUnknown) return failed;

  const known = references.typeOf(ast);
  // A plain path needs no second look, and most expressions are one.
  if (pathOf(ast) !== null) {
    return finish(ast, known ?? ANY, () => 'dyn', facing, source, diagnostics);
  }
  for (const [node, type] of references.values) types.settle(node, type);
  for (const node of references.nulls) types.settle(node, ANY);
  const result = parsed.check();
  if (!result.valid) {
    reportTypeError(result.error, source, diagnostics);
    return failed;
  }
  const type = known ?? types.read(result.type ?? 'dyn');
  return finish(ast, type, typeNameOf, facing, source, diagnostics);
}

function finish(
  ast: ASTNode,
  type: Type,
  typeName: (node: ASTNode) => string,
  facing: Facing,
  source: ExpressionSource,
  diagnostics: Diagnostics,
): CompiledExpression {
  const before = diagnostics.size;
  const expr = lower(ast, typeName, (node, message, hint) => {
    diagnostics.add('EXPRESSION_TYPE', source.toRange(node.start, node.end), message, hint);
  });
  return diagnostics.size > before ? FAILED : { expr, type, ...factsOf(facing) };
}

/** Behind what is never true nothing is certain, so that its mistakes are told. */
function factsOf({
  whenTrue,
  whenFalse,
}: Facing): Pick<CompiledExpression, 'whenTrue' | 'whenFalse'> {
  return { whenTrue: whenTrue ?? NOTHING, whenFalse: whenFalse ?? NOTHING };
}

function parse(
  text: string,
  environment: Environment,
  source: ExpressionSource,
  diagnostics: Diagnostics,
): ParseResult | null {
  if (text.trim() === '') {
    diagnostics.add('EXPRESSION_SYNTAX', source.toRange(0, text.length), 'the expression is empty');
    return null;
  }
  try {
    return environment.parse(text);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    const whole = { start: 0, end: text.length };
    const { start, end } = bracedIn(text) === null ? (error.range ?? whole) : whole;
    const { message, hint } = explainParseError(error, text);
    diagnostics.add(
      'EXPRESSION_SYNTAX',
      source.toRange(start, Math.max(end, start + 1)),
      message,
      hint,
    );
    return null;
  }
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

function reportTypeError(
  error:
    | {
        readonly code: string;
        readonly summary: string;
        readonly range?: { start: number; end: number };
        readonly node?: unknown;
      }
    | undefined,
  source: ExpressionSource,
  diagnostics: Diagnostics,
): void {
  const { start, end } = error?.range ?? { start: 0, end: source.text.length };
  const node = error?.node as ASTNode | undefined;
  // What the library calls double is `number` in a pipeline; its record names are ours with a prefix.
  const say = (text: string): string =>
    text.replaceAll('double', 'number').replace(RECORD_PREFIX, '').replaceAll('dyn', 'any');
  let message = lowerFirst(say(error?.summary ?? 'the types do not fit'));
  let hint = '';
  if (error?.code === 'no_such_overload' && Array.isArray(node?.args)) {
    const [left, right] = (node.args as ASTNode[]).map((operand) => say(typeNameOf(operand)));
    message = `\`${node.op}\` does not take ${left} and ${right}`;
    hint = operatorHint(node.op, [left, right]);
  } else if (error?.code === 'no_such_overload') {
    message = message.replace(/^no such overload: ([!-])(.+)$/, '`$1` does not take $2');
  } else if (error?.code === 'no_matching_overload') {
    message = message.replace(/^found no matching overload for '(.+)'$/, 'there is no `$1`');
  }
  diagnostics.add('EXPRESSION_TYPE', source.toRange(start, end), explainTypeMessage(message), hint);
}
