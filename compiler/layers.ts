/**
 * What is known at one place lies in layers: under its own that of the branches of a `parallel` which it needs, and
 * under those that of the block around it.
 */
interface Layer<Self> {
  readonly outer: Self | undefined;
  readonly needed: NeededBranches<Self> | undefined;
  /** What can be asked for here. */
  names(): Iterable<string>;
}

/** The layers that may know this name, the nearest first. */
export function* layersAbout<L extends Layer<L>>(start: L, name: string): Generator<L> {
  for (let layer: L | undefined = start; layer !== undefined; layer = layer.outer) {
    yield layer;
    if (layer.needed !== undefined) yield* layer.needed.about(name);
  }
}

/** A layer and all under it, the nearest first. */
export function* layersOf<L extends Layer<L>>(start: L): Generator<L> {
  for (let layer: L | undefined = start; layer !== undefined; layer = layer.outer) {
    yield layer;
    if (layer.needed !== undefined) yield* layer.needed.all();
  }
}

/** Those branches of a `parallel` that one of them needs, and that these need. */
export interface NeededBranches<L> {
  about: (name: string) => Generator<L>;
  all: () => Generator<L>;
}

/**
 * The branches of a `parallel` that have ended, by what they know: of a thousand that need one another, the last would
 * else have to ask them all.
 */
export class EndedBranches<L extends Layer<L>> {
  readonly #layers: (L | undefined)[] = [];
  readonly #knowing = new Map<string, number[]>();
  /** Bit sets: for each branch all that it needs. */
  readonly #needed: (Uint32Array | undefined)[] = [];
  readonly #words: number;

  constructor(branches: number) {
    this.#words = Math.ceil(branches / 32);
  }

  add(branch: number, layer: L): void {
    this.#layers[branch] = layer;
    for (const name of layer.names()) {
      const knowing = this.#knowing.get(name);
      if (knowing === undefined) this.#knowing.set(name, [branch]);
      else knowing.push(branch);
    }
  }

  /** `needs` are the branches that this one names; each was added before. */
  neededBy(branch: number, needs: readonly number[]): NeededBranches<L> | undefined {
    if (needs.length === 0) return undefined;
    const all = new Uint32Array(this.#words);
    for (const one of needs) {
      this.#needed[one]?.forEach((word, at) => {
        all[at] = (all[at] ?? 0) | word;
      });
      all[one >> 5] = (all[one >> 5] ?? 0) | (1 << (one & 31));
    }
    this.#needed[branch] = all;
    return {
      about: (name) => this.#among(all, this.#knowing.get(name) ?? []),
      all: () => this.#among(all, [...this.#layers.keys()].toReversed()),
    };
  }

  *#among(needed: Uint32Array, branches: Iterable<number>): Generator<L> {
    for (const branch of branches) {
      const layer = this.#layers[branch];
      const isNeeded = ((needed[branch >> 5] ?? 0) & (1 << (branch & 31))) !== 0;
      if (isNeeded && layer !== undefined) yield layer;
    }
  }
}
