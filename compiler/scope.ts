/** What an expression can see at one place of a pipeline. */
import type { Diagnostics, Range } from './diagnostic.js';
import type { Facts, Moment } from './facts.js';
import { layersAbout, layersOf, type NeededBranches } from './layers.js';
import { suggestHint } from './suggest.js';
import { isAssignable, type Type } from './types.js';

/** Outputs of the steps that may have run before a place, by id; what a block adds to those around it is its own. */
export class Visible {
  readonly own = new Map<string, Type>();
  readonly outer: Visible | undefined;
  readonly needed: NeededBranches<Visible> | undefined;

  constructor(outer?: Visible, needed?: NeededBranches<Visible>) {
    this.outer = outer;
    this.needed = needed;
  }

  get(id: string): Type | undefined {
    for (const { own } of layersAbout<Visible>(this, id)) {
      const outputs = own.get(id);
      if (outputs !== undefined) return outputs;
    }
    return undefined;
  }

  names(): Iterable<string> {
    return this.own.keys();
  }

  has(id: string): boolean {
    return this.get(id) !== undefined;
  }

  add(id: string, outputs: Type): void {
    this.own.set(id, outputs);
  }

  /** All of them, the nearest first. */
  *nearestFirst(): Generator<readonly [string, Type]> {
    for (const { own } of layersOf<Visible>(this)) yield* [...own].toReversed();
  }
}

/** What the file says about an id, wherever it stands. */
export interface IdPlace {
  readonly range: Range;
  /** Keys of the `foreach` and `repeat` blocks around it, outermost first. */
  readonly foreach: readonly string[];
  /** Their places. */
  readonly blocks: readonly number[];
  /** What it is: `try`. */
  readonly kind: string;
  /** Only steps, and blocks that run many times, have outputs. */
  readonly hasOutputs: boolean;
}

export interface Scope {
  readonly inputs: Type;
  readonly run: Type;
  /** Items and errors of the blocks around, by name. */
  readonly names: ReadonlyMap<string, Type>;
  /** Nothing but `names` is in scope: neither inputs nor steps nor the run. */
  readonly namesOnly?: true;
  /** The id of the step whose inputs these are. */
  readonly self?: string;
  /** Places of the `foreach` and `repeat` blocks around; outside of a file's steps there are none. */
  readonly blocks?: ReadonlySet<number>;
  /** The `parallel` blocks around, the innermost first. */
  readonly beside?: Beside;
  readonly visible: Visible;
  readonly facts: Facts;
  readonly file: FileNames;
}

/** The branches of a `parallel`, as seen from one of them. */
export interface Beside {
  /** Every id in the block, with its branch. */
  readonly ids: ReadonlyMap<string, { readonly branch: number; readonly name: string | null }>;
  readonly branch: number;
  /** What this one needs is not all known, which is told. */
  readonly isUnclear: boolean;
  /** Ids of other branches that it may not read, told once each. */
  readonly told: Set<string>;
  readonly outer?: Beside;
}

/** The branch beside this place in which an id stands, `name` being its id; null when there is none. */
export function branchBeside(
  id: string,
  beside: Beside | undefined,
): {
  readonly name: string | null;
  readonly isUnclear: boolean;
  readonly told: Set<string>;
} | null {
  for (let block = beside; block !== undefined; block = block.outer) {
    const { branch, isUnclear, told } = block;
    const found = block.ids.get(id);
    if (found !== undefined && found.branch !== branch)
      return { name: found.name, isUnclear, told };
  }
  return null;
}

/** So many steps that there are not get a hint: among thousands of names each is a search. */
const MAX_HINTS = 200;

/** Names of the whole file, and what was said about them. */
export class FileNames {
  readonly ids: ReadonlyMap<string, IdPlace>;
  /** Ids inside of what is already reported. */
  readonly broken: ReadonlySet<string>;
  /** Inputs that some expression reads. */
  readonly inputsRead = new Set<string>();
  /** Names that blocks give to values inside of them. */
  readonly values: ReadonlySet<string>;
  /** Names that no expression can hold, as `steps.find-task` and `inputs.find-task`; all are reported. */
  readonly illFormed: readonly string[];
  /** Why a step that is visible may not have run. */
  readonly doubts = new Map<string, string>();
  /** When a step succeeds, by its id: what is certain then. */
  readonly moments = new Map<string, Moment>();
  readonly #unknown = new Map<string, { first: Range; more: Range[] }>();

  constructor(
    ids: ReadonlyMap<string, IdPlace>,
    broken: ReadonlySet<string>,
    values: ReadonlySet<string> = new Set(),
    illFormed: readonly string[] = [],
  ) {
    this.ids = ids;
    this.broken = broken;
    this.values = values;
    this.illFormed = illFormed;
  }

  /** True when an expression reads a name whose form is already reported. */
  readsIllFormed(text: string): boolean {
    return this.illFormed.some((path) => text.includes(path));
  }

  /** Remembers a reference to a step that does not exist; many references to one name are one mistake. */
  missing(id: string, range: Range): void {
    const told = this.#unknown.get(id);
    if (told !== undefined) {
      told.more.push(range);
      return;
    }
    this.#unknown.set(id, { first: range, more: [] });
  }

  report(diagnostics: Diagnostics): void {
    const known = [...this.ids].filter(([, place]) => place.hasOutputs).map(([name]) => name);
    for (const [at, [id, { first, more }]] of [...this.#unknown].entries()) {
      const hint = at < MAX_HINTS ? suggestHint(id, known, 'no step of this file has an id') : '';
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
  for (const [id, outputs] of scope.visible.nearestFirst()) {
    if (found.length > 1) break;
    if (!scope.facts.has(`steps.${id}`) || outputs.kind !== 'record') continue;
    for (const [name, field] of outputs.fields) {
      if (!field.optional) add(`steps.${id}.${name}`, field.type);
    }
  }
  return found.slice(0, 2);
}
