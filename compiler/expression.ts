/**
 * A CEL text to the tree that a Plan carries. The library parses it and checks its operators and functions; this
 * file resolves names and members, decides what certainly exists, and picks int or double operators.
 *
 * Where this differs from CEL: `has(a.b.c)` is false when `a.b` is not there (CEL: an error); a branch of `?:` may be
 * `null`; maps have text keys; numbers are JSON numbers (core/evaluate.ts).
 */
import { Environment, ParseError, type ASTNode } from '@marcbachmann/cel-js';
import type { Expr } from '../core/expression.js';
import type { Diagnostics } from './diagnostic.js';
import {
  bracedIn,
  explainParseError,
  explainTypeMessage,
  operatorHint,
} from './explain-expression.js';
import { lower } from './lower.js';
import { pathOf, References, type ExpressionSource, type Facing } from './references.js';
import type { Scope } from './scope.js';
import {
  ANY,
  BOOL,
  fieldsOf,
  INT,
  namedTypes,
  NULL,
  NUMBER,
  STRING,
  UNKNOWN,
  type Type,
} from './types.js';

/** Longest expression, in characters. */
const MAX_EXPRESSION_LENGTH = 8_192;

const LIMITS = { maxAstNodes: 3_000, maxDepth: 60, maxListElements: 1_000, maxMapEntries: 1_000 };

export interface CompiledExpression {
  /** Null when something about it is reported. */
  readonly expr: Expr | null;
  readonly type: Type;
  /** Paths that exist when it is true, and when it is false. */
  readonly whenTrue: ReadonlySet<string>;
  readonly whenFalse: ReadonlySet<string>;
}

const NOTHING: ReadonlySet<string> = new Set();
const FAILED: CompiledExpression = {
  expr: null,
  type: UNKNOWN,
  whenTrue: NOTHING,
  whenFalse: NOTHING,
};

/** Same length as `null`, so that places stay; the library unifies it with every type. */
const NULL_STAND_IN = 'nil_';

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
  const ast = parse(text, baseEnvironment(), source, diagnostics);
  if (ast === null) return FAILED;

  const before = diagnostics.size;
  const references = new References(source, scope, diagnostics);
  const facing = references.resolve(ast);
  if (diagnostics.size > before || references.sawUnknown) return FAILED;

  const known = references.typeOf(ast);
  // A plain path needs no second look, and most expressions are one.
  if (pathOf(ast) !== null) {
    return finish(ast, known ?? ANY, () => 'dyn', facing, source, diagnostics);
  }
  const { environment, types } = environmentFor(references, scope);
  const checkable = maskNulls(text, references.nulls);
  const checked = environment.parse(checkable);
  const result = checked.check();
  if (!result.valid) {
    reportTypeError(result.error, source, diagnostics);
    return FAILED;
  }
  const type = known ?? fromCel(result.type ?? 'dyn', types);
  return finish(checked.ast, type, celTypeOf, facing, source, diagnostics);
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
  return diagnostics.size > before ? FAILED : { expr, type, ...facing };
}

/** The type that the library found for a node; it keeps it there, outside of its declared interface. */
function celTypeOf(node: ASTNode): string {
  const { checkedType } = node as ASTNode & { readonly checkedType?: { readonly name: string } };
  return checkedType?.name ?? 'dyn';
}

function parse(
  text: string,
  environment: Environment,
  source: ExpressionSource,
  diagnostics: Diagnostics,
): ASTNode | null {
  if (text.trim() === '') {
    diagnostics.add('EXPRESSION_SYNTAX', source.toRange(0, text.length), 'the expression is empty');
    return null;
  }
  try {
    return environment.parse(text).ast;
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

let base: Environment | null = null;

function baseEnvironment(): Environment {
  if (base !== null) return base;
  const environment = new Environment({ limits: LIMITS, homogeneousAggregateLiterals: true });
  const registered = new Set<string>();
  for (const name of ['duration', 'timestamp']) environment.registerType(name, { fields: {} });
  for (const type of namedTypes().values()) register(type, environment, registered);
  base = environment;
  return environment;
}

interface InputsEnvironment {
  readonly environment: Environment;
  readonly registered: ReadonlySet<string>;
  readonly types: ReadonlyMap<string, Type>;
}

const inputsEnvironments = new WeakMap<Type, InputsEnvironment>();

/** An environment that knows the record of the inputs; a pipeline has one, and may have many inputs. */
function inputsEnvironment({ inputs }: Scope): InputsEnvironment {
  const made = inputsEnvironments.get(inputs);
  if (made !== undefined) return made;
  const environment = baseEnvironment().clone();
  const registered = new Set(namedTypes().keys());
  const types = new Map<string, Type>();
  register(inputs, environment, registered, types);
  const fresh = { environment, registered, types };
  inputsEnvironments.set(inputs, fresh);
  return fresh;
}

/** An environment in which the names that an expression uses have their types. */
function environmentFor(
  references: References,
  scope: Scope,
): { environment: Environment; types: ReadonlyMap<string, Type> } {
  const names = [...references.roots].map((root) => [root, scope.names.get(root) ?? null] as const);
  const read = [...names, ...references.steps, ['inputs', scope.inputs] as const];
  // Most expressions read what the one before them has read, and a step may have thousands of outputs.
  if (last !== null && isSame(last.read, read)) return last.made;
  const made = makeEnvironment(references, scope);
  last = { read, made };
  return made;
}

type Read = ReadonlyArray<readonly [string, Type | null]>;

let last: {
  readonly read: Read;
  readonly made: { readonly environment: Environment; readonly types: ReadonlyMap<string, Type> };
} | null = null;

function isSame(a: Read, b: Read): boolean {
  return (
    a.length === b.length &&
    a.every(([name, type], at) => b[at]?.[0] === name && b[at]?.[1] === type)
  );
}

function makeEnvironment(
  references: References,
  scope: Scope,
): { environment: Environment; types: ReadonlyMap<string, Type> } {
  const { environment: withInputs, registered: known, types: ofInputs } = inputsEnvironment(scope);
  const environment = withInputs.clone();
  const registered = new Set(known);
  const types = new Map(ofInputs);
  const declare = (name: string, type: Type): void => {
    register(type, environment, registered, types);
    environment.registerVariable(name, celName(type));
  };
  environment.registerVariable(NULL_STAND_IN, 'dyn');
  for (const root of references.roots) {
    const item = scope.names.get(root);
    if (item !== undefined) declare(root, item);
    else if (root === 'inputs') declare(root, scope.inputs);
    else if (root === 'run') declare(root, scope.run);
  }
  if (references.steps.size > 0) {
    const fields = new Map(
      [...references.steps].map(([id, type]) => [id, { type, optional: false, summary: '' }]),
    );
    declare('steps', { kind: 'record', label: 'steps', fields });
  }
  return { environment, types };
}

/** Makes a record type, and all that it is made of, known to the library. */
function register(
  type: Type,
  environment: Environment,
  registered: Set<string>,
  types?: Map<string, Type>,
): void {
  if (type.kind === 'list' || type.kind === 'map' || type.kind === 'nullable') {
    register(type.of, environment, registered, types);
    return;
  }
  const fields = fieldsOf(type);
  const name = celName(type);
  if (fields === null || registered.has(name)) return;
  registered.add(name);
  types?.set(name, type);
  for (const field of fields.values()) register(field.type, environment, registered, types);
  environment.registerType(name, {
    fields: Object.fromEntries([...fields].map(([key, field]) => [key, celName(field.type)])),
  });
}

function celName(type: Type): string {
  switch (type.kind) {
    case 'number':
      return 'double';
    case 'one_of':
      return 'string';
    case 'any':
    case 'unknown':
    case 'nullable':
      return 'dyn';
    case 'list':
      return `list<${celName(type.of)}>`;
    case 'map':
      return `map<string, ${celName(type.of)}>`;
    case 'named':
      return type.name;
    case 'record':
      return `record.${type.label}`;
    default:
      return type.kind;
  }
}

function fromCel(name: string, types: ReadonlyMap<string, Type>): Type {
  const simple: { readonly [name: string]: Type } = {
    string: STRING,
    int: INT,
    double: NUMBER,
    bool: BOOL,
    null: NULL,
    dyn: ANY,
    list: { kind: 'list', of: ANY },
    map: { kind: 'map', of: ANY },
    duration: { kind: 'duration' },
    timestamp: { kind: 'timestamp' },
  };
  if (Object.hasOwn(simple, name)) return simple[name] ?? ANY;
  const list = /^list<(.+)>$/.exec(name);
  if (list !== null) return { kind: 'list', of: fromCel(list[1] ?? 'dyn', types) };
  const map = /^map<[^,]+, (.+)>$/.exec(name);
  if (map !== null) return { kind: 'map', of: fromCel(map[1] ?? 'dyn', types) };
  return types.get(name) ?? namedTypes().get(name) ?? ANY;
}

function maskNulls(text: string, nulls: readonly ASTNode[]): string {
  let masked = text;
  for (const { start, end } of nulls)
    masked = masked.slice(0, start) + NULL_STAND_IN + masked.slice(end);
  return masked;
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
    text.replaceAll('double', 'number').replaceAll('record.', '').replaceAll('dyn', 'any');
  let message = lowerFirst(say(error?.summary ?? 'the types do not fit'));
  let hint = '';
  if (error?.code === 'no_such_overload' && Array.isArray(node?.args)) {
    const [left, right] = (node.args as ASTNode[]).map((operand) => say(celTypeOf(operand)));
    message = `\`${node.op}\` does not take ${left} and ${right}`;
    hint = operatorHint(node.op, [left, right]);
  } else if (error?.code === 'no_such_overload') {
    message = message.replace(/^no such overload: ([!-])(.+)$/, '`$1` does not take $2');
  } else if (error?.code === 'no_matching_overload') {
    message = message.replace(/^found no matching overload for '(.+)'$/, 'there is no `$1`');
  }
  diagnostics.add('EXPRESSION_TYPE', source.toRange(start, end), explainTypeMessage(message), hint);
}
