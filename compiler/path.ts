import type { ASTNode } from '@marcbachmann/cel-js';
import type { Type } from './types.js';

/** What a macro binds to a name. */
interface Local {
  /** Null when only the library can tell. */
  readonly type: Type | null;
  /** Begins its paths: another macro may bind the same name to another value. */
  readonly mark: string;
}

export type Locals = ReadonlyMap<string, Local>;

const NONE: Locals = new Map();

/** `steps.claim.claim` for members of a name; null for anything else. */
export function pathOf(node: ASTNode, locals: Locals = NONE): string | null {
  if (node.op === 'id') return locals.get(node.args)?.mark ?? node.args;
  if (node.op !== '.') return null;
  const of = pathOf(node.args[0], locals);
  return of === null ? null : `${of}.${node.args[1]}`;
}

/** The mark of a name that a macro binds; `depth` tells it from those around. */
export function markOf(name: string, depth: number): string {
  return `(${name}#${depth})`;
}

/** A path as its author wrote it. */
export function writtenPath(path: string): string {
  return path.replace(/^\((\w+)#\d+\)/, '$1');
}
