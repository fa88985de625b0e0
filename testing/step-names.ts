/** The steps of a pipeline by the names that a test may give them: an id, a path, or the path of one item. */
import { suggest } from '../compiler/suggest.js';
import { hasItems, innerBlocks } from '../core/inner-blocks.js';
import { toPattern } from '../core/plan-paths.js';
import type { PlanStep } from '../core/plan.js';

export interface NamedStep {
  /** Path, with `#*` for all items. */
  readonly path: string;
  /** The blocks around that run many times, by their paths, outermost first. */
  readonly turns: readonly string[];
  /** How many files are called on the way to it. */
  readonly calls: number;
  /** Null for an item of a block that runs many times. */
  readonly step: PlanStep | null;
}

/** What a step is, for a message: ``a `foreach` ``. */
export function kindOf({ step }: NamedStep): string {
  if (step === null) return 'an item';
  return `${/^[aeiou]/.test(step.kind) ? 'an' : 'a'} \`${step.kind}\``;
}

export class StepNames {
  readonly all: readonly NamedStep[];
  readonly #byPath: ReadonlyMap<string, NamedStep>;
  readonly #byId: ReadonlyMap<string, NamedStep>;

  constructor(steps: readonly PlanStep[]) {
    this.all = entriesOf(steps, '', [], 0);
    this.#byPath = new Map(this.all.map((entry) => [entry.path, entry]));
    // An id is unique in its file only: that of the file itself goes before one of a file that it calls.
    const byId = new Map<string, NamedStep>();
    for (const entry of this.all) {
      const id = entry.step?.id;
      if (id === undefined) continue;
      const known = byId.get(id);
      if (known === undefined || entry.calls < known.calls) byId.set(id, entry);
    }
    this.#byId = byId;
  }

  /** The step that a name means, and the path that it stands for; a path goes before an id. Null without one. */
  find(name: string): { readonly named: NamedStep; readonly pattern: string } | null {
    const byPath = this.#byPath.get(toPattern(name));
    if (byPath !== undefined) return { named: byPath, pattern: name };
    const byId = this.#byId.get(name);
    return byId === undefined ? null : { named: byId, pattern: byId.path };
  }

  /** The step at a path of a run. */
  at(path: string): NamedStep | undefined {
    return this.#byPath.get(toPattern(path));
  }

  /** What a test would write to mean the step at a path of a run: its id, unless that means another, or its path. */
  nameOf(path: string): string {
    const named = this.at(path);
    const id = named?.step?.id;
    return id !== undefined && this.find(id)?.named === named ? id : toPattern(path);
  }

  /** The way out for a name that means nothing. */
  hint(name: string): string {
    const known = [...this.#byId.keys(), ...this.#byPath.keys()];
    const shape = toPattern(name);
    const number = /#(\d+)(?=\/|$)/.exec(name)?.[1] ?? '0';
    const near = suggest(shape, known)?.replaceAll('#*', `#${number}`) ?? null;
    if (near !== null) return `did you mean \`${near}\`?`;
    const ids = [...this.#byId.keys()].slice(0, 12).map((id) => `\`${id}\``);
    return ids.length === 0 ? 'no step of the pipeline has an id' : `there are: ${ids.join(', ')}`;
  }

  /**
   * What the turns of one list are counted by: iterations of a `repeat` come one after the other and share a list,
   * items of a `foreach` run side by side and have one each.
   */
  turnKey(path: string): string {
    return path.replace(/#\d+(?=\/|$)/g, (number, at: number) => {
      const block = this.at(path.slice(0, at));
      return block?.step?.kind === 'repeat' ? '#*' : number;
    });
  }
}

function entriesOf(
  steps: readonly PlanStep[],
  prefix: string,
  turns: readonly string[],
  calls: number,
): NamedStep[] {
  return steps.flatMap((step) => {
    const path = `${prefix}${step.key}`;
    const inside = hasItems(step) ? [...turns, path] : turns;
    return [
      { path, turns, calls, step },
      ...(hasItems(step) ? [{ path: `${path}#*`, turns: inside, calls, step: null }] : []),
      ...innerBlocks(step).flatMap(({ steps: inner, infix }) =>
        entriesOf(inner, `${path}${infix}`, inside, calls),
      ),
      ...(step.kind === 'pipeline'
        ? entriesOf(step.called.steps, `${path}/`, turns, calls + 1)
        : []),
    ];
  });
}

/** True when a pattern, in which `#*` stands for any item, means this path. */
export function matches(pattern: string, path: string): boolean {
  if (pattern === path) return true;
  if (!pattern.includes('#*')) return false;
  const ours = pattern.split('/');
  const theirs = path.split('/');
  return (
    ours.length === theirs.length &&
    ours.every((part, at) => {
      const other = theirs[at] ?? '';
      return part === other || (part.endsWith('#*') && toPattern(other) === part);
    })
  );
}

/** How exact a pattern is: the more items it names, the more. */
export function exactness(pattern: string): number {
  return (pattern.match(/#\d+(?=\/|$)/g) ?? []).length;
}
