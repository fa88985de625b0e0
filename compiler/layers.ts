/** What is known at one place lies in layers: that of the block around it, and of what it needs, under its own. */
interface Layer<Self> {
  readonly outer: readonly Self[];
}

/** The first answer that is not undefined, the nearest layer first; each layer is asked once. */
export function ask<L extends Layer<L>, Answer>(
  start: L,
  question: (layer: L) => Answer | undefined,
): Answer | undefined {
  for (const layer of layersOf(start)) {
    const answer = question(layer);
    if (answer !== undefined) return answer;
  }
  return undefined;
}

/** A layer and all under it, the nearest first. */
export function* layersOf<L extends Layer<L>>(start: L): Generator<L> {
  const seen = new Set<L>([start]);
  // A set is gone through in the order in which it grows.
  for (const layer of seen) {
    yield layer;
    for (const outer of layer.outer) seen.add(outer);
  }
}
