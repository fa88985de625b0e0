/**
 * What an expression can see at one place of a pipeline, and what is certain there.
 *
 * A fact is a path that certainly exists: `steps.discover` (the step has succeeded), `inputs.idea` (it was given).
 */
import type { Diagnostics, Range } from './diagnostic.js';
import { suggestHint } from './suggest.js';
import { isAssignable, type Type } from './types.js';

/** Facts of a block on top of those around it. Added to as steps succeed, dropped or merged when it ends. */
export class Facts {
  readonly own = new Set<string>();
  readonly #outer: Facts | null;

  constructor(outer: Facts | null = null) {
    this.#outer = outer;
  }

  has(path: string): boolean {
    return this.own.has(path) || (this.#outer?.has(path) ?? false);
  }

  add(paths: Iterable<string>): this {
    for (const path of paths) this.own.add(path);
    return this;
  }
}

/** What the file says about an id, wherever it stands. */
export interface IdPlace {
  readonly range: Range;
  /** Keys of the foreach blocks around it, outermost first. */
  readonly foreach: readonly string[];
  /** `try`, `if` and `stop` have no outputs. */
  readonly hasOutputs: boolean;
}

export interface Scope {
  readonly inputs: Type;
  readonly run: Type;
  /** Items of the foreach blocks around, by name. */
  readonly names: ReadonlyMap<string, Type>;
  /** Nothing but `names` is in scope: neither inputs nor steps nor the run. */
  readonly namesOnly?: true;
  /** Outputs of the steps that may have run before, by id. */
  readonly visible: Map<string, Type>;
  readonly facts: Facts;
  readonly file: FileNames;
}

/** Names of the whole file, and what was said about them. */
export class FileNames {
  readonly ids: ReadonlyMap<string, IdPlace>;
  /** Ids inside of what is already reported. */
  readonly broken: ReadonlySet<string>;
  /** Why a step that is visible may not have run. */
  readonly doubts = new Map<string, string>();
  readonly #unknown = new Map<string, { first: Range; hint: string; more: Range[] }>();

  constructor(ids: ReadonlyMap<string, IdPlace>, broken: ReadonlySet<string>) {
    this.ids = ids;
    this.broken = broken;
  }

  /** Remembers a reference to a step that does not exist; many references to one name are one mistake. */
  missing(id: string, range: Range): void {
    const told = this.#unknown.get(id);
    if (told !== undefined) {
      told.more.push(range);
      return;
    }
    const known = [...this.ids].filter(([, place]) => place.hasOutputs).map(([name]) => name);
    const hint = suggestHint(id, known, 'no step of this file has an id');
    this.#unknown.set(id, { first: range, hint, more: [] });
  }

  report(diagnostics: Diagnostics): void {
    for (const [id, { first, hint, more }] of this.#unknown) {
      const also = more.length === 0 ? '' : ` (read at ${more.length + 1} places)`;
      diagnostics.add('NAME_UNKNOWN', first, `there is no step \`${id}\`${also}`, hint);
    }
  }
}

function isNominal(type: Type): boolean {
  if (type.kind === 'list' || type.kind === 'map' || type.kind === 'nullable')
    return isNominal(type.of);
  return type.kind === 'named';
}

/** Expressions that give a value of this named type here, the nearest step first; at most two. */
export function offers(type: Type, scope: Scope): string[] {
  const found: string[] = [];
  // For a text or a number any output would do, and none would be meant.
  if (!isNominal(type)) return found;
  const add = (path: string, offered: Type): void => {
    if (offered.kind !== 'unknown' && offered.kind !== 'any' && isAssignable(offered, type))
      found.push(path);
  };
  for (const [name, item] of scope.names) add(name, item);
  for (const [id, outputs] of [...scope.visible].toReversed()) {
    if (!scope.facts.has(`steps.${id}`) || outputs.kind !== 'record') continue;
    for (const [name, field] of outputs.fields) {
      if (!field.optional) add(`steps.${id}.${name}`, field.type);
    }
  }
  return found.slice(0, 2);
}
