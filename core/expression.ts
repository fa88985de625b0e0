import type { Json } from './json.js';

/**
 * A CEL expression as plain JSON: what the compiler puts into a Plan and `evaluate` runs.
 * Numbers are JSON numbers throughout; no BigInt exists here, because one in a payload wedges a run.
 */
export type Expr =
  | { readonly op: 'lit'; readonly value: Json }
  | { readonly op: 'name'; readonly name: string }
  | { readonly op: 'member'; readonly of: Expr; readonly key: string }
  | { readonly op: 'index'; readonly of: Expr; readonly by: Expr }
  | { readonly op: 'has'; readonly of: Expr; readonly key: string }
  | { readonly op: 'list'; readonly items: readonly Expr[] }
  | { readonly op: 'map'; readonly entries: ReadonlyArray<readonly [Expr, Expr]> }
  | { readonly op: 'call'; readonly fn: string; readonly args: readonly Expr[] }
  | {
      readonly op: 'comprehension';
      readonly macro: 'all' | 'exists' | 'exists_one' | 'map' | 'filter';
      readonly of: Expr;
      readonly as: string;
      readonly where?: Expr;
      readonly body: Expr;
    };

/** What an expression can see: `inputs`, `steps`, `run` and the names of enclosing `foreach` blocks. */
export type Scope = { readonly [name: string]: Json };

/** A value in a Plan with expressions at its leaves; evaluating it gives plain JSON. */
export type Template =
  | { readonly t: 'value'; readonly value: Json }
  | { readonly t: 'expr'; readonly expr: Expr }
  /** Text with expressions between; each is written as CEL's `string()` does. */
  | { readonly t: 'text'; readonly parts: ReadonlyArray<string | Expr> }
  | { readonly t: 'list'; readonly items: readonly Template[] }
  | { readonly t: 'map'; readonly entries: ReadonlyArray<readonly [string, Template]> };
