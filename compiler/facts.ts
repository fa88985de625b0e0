/**
 * What is certain at one place of a pipeline. A fact is a path that certainly exists: `steps.discover` (the step has
 * succeeded), `inputs.idea` (it was given); that a value is not null; or what is known of a condition (conditions.ts).
 *
 * Invariant: facts are added and never taken back, so what was certain when a step succeeded is certain wherever that
 * step is known to have succeeded.
 */
import { isAboutFile, opposite, readFact } from './conditions.js';
import { layersAbout, type NeededBranches } from './layers.js';

/** What was certain when a step succeeded: the facts of its place, as far as they were known by then. */
export interface Moment {
  readonly facts: Facts;
  readonly before: number;
}

/** Most steps that are looked at for what follows from their success: a chain of thousands must not take minutes. */
const MAX_MOMENTS = 200;

/** By this name layers are found that know more than paths: conditions, or that steps have succeeded. */
const BEYOND = '(beyond)';

/** Counts the facts of all files: which of two was known first. */
let clock = 0;

/** The path of a value, as the fact that it is not null. */
export function notNull(path: string): string {
  return `${path}.!`;
}

interface Under {
  readonly key: string;
  readonly since: number;
}

/** Facts of a block on top of those around it. Added to as steps succeed, dropped or merged when it ends. */
export class Facts {
  readonly own = new Set<string>();
  readonly outer: Facts | undefined;
  readonly needed: NeededBranches<Facts> | undefined;
  readonly #since = new Map<string, number>();
  /** Keys of the conditions under which a path exists, by the path. */
  readonly #under = new Map<string, Under[]>();
  /** Moments of the steps that a condition knows to have succeeded. */
  readonly #supposed: { readonly moment: Moment; readonly since: number }[] = [];
  /** Keys of the conditions that are known here. */
  readonly #keys: string[] = [];
  /** Since then a condition is known to hold and not to hold, so that nothing ever comes here. */
  #impossibleSince = Number.POSITIVE_INFINITY;
  /** Of a part of an expression: made when they are first needed. */
  #conditions: (() => Iterable<string>) | null = null;
  #held: ReadonlySet<string> | null = null;
  /** Of each group one holds, and nobody knows which. */
  #alternatives: (() => readonly (readonly Facts[])[]) | null = null;
  #groups: readonly (readonly Facts[])[] | null = null;
  /** What was asked of a part of an expression; while that is looked at nothing is added. */
  readonly #answers = new Map<string, boolean>();

  constructor(outer?: Facts, needed?: NeededBranches<Facts>) {
    this.outer = outer;
    this.needed = needed;
  }

  has(fact: string): boolean {
    // Each part of an expression is a case of others: asked without end, a hundred of them would take years.
    const before = this.#alternatives === null ? undefined : this.#answers.get(fact);
    if (before !== undefined) return before;
    const answer =
      this.#knows(fact, Number.POSITIVE_INFINITY) || this.#follows(fact) || this.#isInEach(fact);
    if (this.#alternatives !== null) this.#answers.set(fact, answer);
    return answer;
  }

  *names(): Generator<string> {
    yield* this.own;
    yield* this.#under.keys();
    if (this.#keys.length > 0 || this.#supposed.length > 0) yield BEYOND;
  }

  add(facts: Iterable<string>): this {
    for (const fact of facts) {
      if (this.own.has(fact)) continue;
      this.own.add(fact);
      this.#since.set(fact, (clock += 1));
      const implied = readFact(fact);
      if (implied === null) {
        this.#noteCondition(fact);
        continue;
      }
      // Looked up when it is asked for: behind one condition there may be a thousand steps, and as many that ask.
      const under = { key: implied.key, since: clock };
      const keys = this.#under.get(implied.path);
      if (keys === undefined) this.#under.set(implied.path, [under]);
      else keys.push(under);
    }
    return this;
  }

  /** Adds what a condition knows; `moments` are those of the steps of the file. */
  suppose(facts: Iterable<string>, moments: ReadonlyMap<string, Moment>): this {
    const known = [...facts];
    for (const fact of known) {
      const moment = fact.startsWith('steps.') ? moments.get(fact.slice(6)) : undefined;
      if (moment !== undefined) this.#supposed.push({ moment, since: (clock += 1) });
    }
    return this.add(known);
  }

  /** Adds what a block knows that is over, and behind which a run comes only by way of it. */
  absorb(block: Facts): this {
    for (const { moment } of block.#supposed) this.#supposed.push({ moment, since: (clock += 1) });
    return this.add(block.own);
  }

  /** Adds the keys of conditions that hold here, and groups of which one each does. */
  assume(
    conditions: () => Iterable<string>,
    alternatives: () => readonly (readonly Facts[])[],
  ): this {
    this.#conditions = conditions;
    this.#alternatives = alternatives;
    return this;
  }

  /** This moment: what is certain here by now. */
  now(): Moment {
    return { facts: this, before: (clock += 1) };
  }

  #noteCondition(key: string): void {
    const other = opposite(key);
    if (other === null) return;
    this.#keys.push(key);
    if (this.#holds(other, clock) && isAboutFile(key))
      this.#impossibleSince = Math.min(this.#impossibleSince, clock);
  }

  #isKnown(fact: string, before: number): boolean {
    const since = this.#since.get(fact);
    if (since !== undefined) return since < before;
    return this.#conditions !== null && this.#conditionsHere().has(fact);
  }

  #conditionsHere(): ReadonlySet<string> {
    this.#held ??= new Set(this.#conditions?.());
    return this.#held;
  }

  #knows(fact: string, before: number): boolean {
    for (const layer of layersAbout<Facts>(this, fact)) {
      if (layer.#isKnown(fact, before)) return true;
      const keys = layer.#under.get(fact) ?? [];
      if (keys.some(({ key, since }) => since < before && this.#holds(key, before))) return true;
    }
    return false;
  }

  #holds(key: string, before: number): boolean {
    for (const layer of layersAbout<Facts>(this, key)) if (layer.#isKnown(key, before)) return true;
    return false;
  }

  /** True when the fact follows from the success of steps that a condition knows of, or nothing ever comes here. */
  #follows(fact: string): boolean {
    const here = new Set(layersAbout<Facts>(this, BEYOND));
    for (const layer of here)
      if (layer.#impossibleSince < Number.POSITIVE_INFINITY || layer.#isContradiction())
        return true;
    const moments = this.#moments();
    const there = keysOf(moments, here);
    // In another block the same words may speak of another error.
    const holds = (key: string): boolean =>
      there.has(key) || (isAboutFile(key) && this.#holds(key, Number.POSITIVE_INFINITY));
    for (const key of there) if (holds(opposite(key) ?? '')) return true;
    const views = [{ facts: this as Facts, before: Number.POSITIVE_INFINITY }, ...moments];
    return views.some(({ facts, before }) => {
      for (const layer of layersAbout<Facts>(facts, fact)) {
        if (layer.#isKnown(fact, before) && isAboutFile(fact)) return true;
        const keys = layer.#under.get(fact) ?? [];
        if (keys.some(({ key, since }) => since < before && holds(key))) return true;
      }
      return false;
    });
  }

  /** What this part of an expression is behind, and what is known around it, cannot both be. */
  #isContradiction(): boolean {
    if (this.#conditions === null) return false;
    for (const key of this.#conditionsHere()) {
      const other = opposite(key) ?? '';
      if (this.#holds(other, Number.POSITIVE_INFINITY) && isAboutFile(key)) return true;
    }
    return false;
  }

  /** The keys of conditions that were known by then, here and around. */
  *keysBefore(before: number, except: ReadonlySet<Facts>): Generator<string> {
    for (const layer of layersAbout<Facts>(this, BEYOND)) {
      if (except.has(layer)) continue;
      for (const key of layer.#keys) if (layer.#isKnown(key, before) && isAboutFile(key)) yield key;
    }
  }

  /** True when the fact holds in each of some cases, one of which is here. */
  #isInEach(fact: string): boolean {
    this.#groups ??= this.#alternatives?.() ?? [];
    if (this.#groups.some((group) => group.every((one) => one.has(fact)))) return true;
    return this.outer === undefined ? false : this.outer.#isInEach(fact);
  }

  /** The moments of all steps that are known to have succeeded by a condition, here or where one of them stands. */
  #moments(): Moment[] {
    const found = new Set<Moment>();
    const look = (facts: Facts, before: number): void => {
      for (const layer of layersAbout<Facts>(facts, BEYOND))
        for (const { moment, since } of layer.#supposed)
          if (since < before && found.size < MAX_MOMENTS) found.add(moment);
    };
    look(this, Number.POSITIVE_INFINITY);
    for (const { facts, before } of found) look(facts, before);
    return [...found];
  }
}

/** The keys that are known at these moments, without those of the layers of this place. */
function keysOf(moments: readonly Moment[], here: ReadonlySet<Facts>): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const { facts, before } of moments)
    for (const key of facts.keysBefore(before, here)) keys.add(key);
  return keys;
}
