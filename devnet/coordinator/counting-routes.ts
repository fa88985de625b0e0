/**
 * `POST /effects/{name}`: something that can be done to the outside without a signature, and that is done each time
 * that it is asked for. What a pipeline's own command does blindly shows here as a count above one.
 */
import type { FastifyInstance } from 'fastify';
import { Problem } from './problem.js';
import { COUNTED_EFFECTS, type CoordinatorState } from './state.js';

const MOST_NAMES = 1_000;

interface Counts {
  readonly [name: string]: number;
}

/** How often each was done; kept with the devnet's state. */
function readCounts({ database }: CoordinatorState): Counts {
  return (database.readValue(COUNTED_EFFECTS) ?? {}) as Counts;
}

export function addCountingRoutes(app: FastifyInstance, state: CoordinatorState): void {
  app.post<{ Params: { name: string } }>('/effects/:name', async ({ params: { name } }) => {
    if (!/^[a-z][a-z0-9_-]{0,63}$/.test(name))
      throw new Problem(422, 'a name is a letter, then letters, digits, - and _');
    const counts = readCounts(state);
    if (counts[name] === undefined && Object.keys(counts).length >= MOST_NAMES)
      throw new Problem(409, `there are ${MOST_NAMES} names already`);
    const count = (Object.hasOwn(counts, name) ? (counts[name] ?? 0) : 0) + 1;
    state.database.writeValue(COUNTED_EFFECTS, { ...counts, [name]: count });
    return { name, count };
  });
  app.get('/effects', async () => readCounts(state));
}
