/** What the branches of a `parallel` need of each other: ids to places, without a circle. */
import type { Diagnostics } from './diagnostic.js';
import type { Branch } from './pipeline.js';
import { suggestHint } from './suggest.js';

export interface Needs {
  /** For each branch the places of those that it needs. */
  readonly needs: readonly (readonly number[])[];
  /** Places of branches whose needs are not all known: what they read of the others may be right. */
  readonly unclear: ReadonlySet<number>;
  /** All places, each behind those that it needs. */
  readonly order: readonly number[];
}

/**
 * What is wrong is told, and left out. `explain` says why an id that the file does have is none of a branch; null for
 * one that it does not have.
 */
export function resolveNeeds(
  branches: readonly Branch[],
  diagnostics: Diagnostics,
  explain: (id: string) => string | null,
): Needs {
  const places = new Map<string, number>();
  branches.forEach(({ step }, index) => {
    const id = step.id?.value;
    if (id !== undefined && !places.has(id)) places.set(id, index);
  });
  // What is broken may have any of its ids; about those nothing is said.
  const broken = new Set(branches.flatMap(({ step }) => (step.kind === 'broken' ? step.ids : [])));
  const unclear = new Set<number>();
  const resolved = branches.map(({ step, needs }, index) =>
    needs.flatMap(({ value, range }) => {
      const place = places.get(value);
      if (place !== undefined) return [{ place, range }];
      unclear.add(index);
      if (!broken.has(value)) {
        diagnostics.add(
          'NAME_UNKNOWN',
          range,
          `there is no branch \`${value}\` beside this one`,
          explain(value) ??
            listHint(value, places) ??
            suggestHint(
              value,
              [...places.keys()].filter((id) => id !== step.id?.value),
              'give the branch that is needed an `id`',
            ),
        );
      }
      return [];
    }),
  );
  const needs: number[][] = branches.map(() => []);
  const order: number[] = [];
  const state = new Map<number, 'open' | 'done'>();
  // By hand: a long row of branches would be too deep for a function that calls itself.
  for (const start of branches.keys()) {
    const open = state.has(start) ? [] : [start];
    for (let index = open.at(-1); index !== undefined; index = open.at(-1)) {
      state.set(index, state.get(index) ?? 'open');
      const next = resolved[index]?.shift();
      if (next === undefined) {
        open.pop();
        if (state.get(index) === 'open') order.push(index);
        state.set(index, 'done');
        continue;
      }
      const { place, range } = next;
      if (state.get(place) === 'open') {
        const circle = open.slice(open.indexOf(place)).map((at) => branches[at]?.step.id?.value);
        unclear.add(index);
        diagnostics.add(
          'NEEDS_CYCLE',
          range,
          `\`needs\` goes round in a circle: ${[...circle, circle[0]].join(' needs ')}`,
          'none of them could start; remove one',
        );
      } else {
        const known = needs[index];
        if (known?.includes(place) === false) known.push(place);
        if (!state.has(place)) open.push(place);
      }
    }
  }
  return { needs, order, unclear };
}

/** Many ids in one text are meant as a list. */
function listHint(value: string, known: ReadonlyMap<string, number>): string | null {
  const ids = value.split(/[\s,]+/);
  return ids.length > 1 && ids.every((id) => known.has(id))
    ? `write \`needs: [${ids.join(', ')}]\``
    : null;
}
