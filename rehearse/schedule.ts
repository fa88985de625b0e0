/** What a rehearsal plays: which faults at which boundaries, as lists that are the same for the same trace and seed. */
import { boundaryText, effectBoundaries, isRead, readBoundary, type Boundary } from './boundary.js';
import { createDraw } from './draw.js';
import { FAULT_NAMES, FAULTS, faultsAt, type FaultName } from './fault.js';

export interface Placement {
  readonly fault: FaultName;
  readonly boundary: Boundary;
}

/** The faults of one run, in the order of their boundaries. */
export type Schedule = readonly Placement[];

/** Every single fault at every boundary that it can be placed at. */
export function fullSchedules(boundaries: readonly Boundary[]): Schedule[] {
  return boundaries.flatMap((boundary) =>
    faultsAt(boundary).map((fault): Schedule => [{ fault, boundary }]),
  );
}

/**
 * Every boundary of an effect with every fault; of each other step, program and kind of read one boundary with one
 * fault, a different kind in turn. `trials`: see `effectBoundaries`.
 */
export function quickSchedules(
  boundaries: readonly Boundary[],
  trials: ReadonlySet<string> = new Set(),
): Schedule[] {
  const effects = effectBoundaries(boundaries, trials);
  const seen = new Set<string>();
  const turns = new Map<string, number>();
  return boundaries.flatMap((boundary): Schedule[] => {
    const faults = faultsAt(boundary);
    if (effects.has(boundary)) return faults.map((fault) => [{ fault, boundary }]);
    const what = groupOf(boundary);
    const one =
      boundary.kind === 'record' ? `${what} ${boundary.path}` : `${what} ${boundary.route}`;
    if (seen.has(one)) return [];
    seen.add(one);
    const turn = turns.get(what) ?? 0;
    turns.set(what, turn + 1);
    const fault = faults[turn % faults.length];
    return fault === undefined ? [] : [[{ fault, boundary }]];
  });
}

/** Boundaries that can have the same faults, so that the kinds of fault are dealt out among them. */
function groupOf(boundary: Boundary): string {
  return boundary.kind === 'record' ? boundary.record : boundary.kind;
}

/** Two faults in one run, drawn from all such pairs; fewer where there are fewer. */
export function pairSchedules(
  boundaries: readonly Boundary[],
  count: number,
  seed: string,
): Schedule[] {
  const singles = fullSchedules(boundaries);
  const draw = createDraw(`pairs/${seed}`);
  const drawn = new Map<string, Schedule>();
  // A pair that cannot be, or is drawn twice, costs a try: with few boundaries there may be none at all.
  for (let tries = 0; singles.length > 0 && drawn.size < count && tries < count * 20; tries += 1) {
    const one = draw(singles.length);
    const other = draw(singles.length);
    const pair = [
      ...(singles[Math.min(one, other)] ?? []),
      ...(singles[Math.max(one, other)] ?? []),
    ];
    if (canBePair(pair)) drawn.set(scheduleText(pair), pair);
  }
  return [...drawn.values()];
}

function canBePair(pair: Schedule): boolean {
  const [first, second] = pair;
  if (first === undefined || second === undefined) return false;
  // Of two faults at one event the second may never happen: the request is gone.
  return eventOf(first.boundary) !== eventOf(second.boundary);
}

function eventOf(boundary: Boundary): string {
  const kind = boundary.kind === 'reply' ? 'request' : boundary.kind;
  return boundaryText({ ...boundary, kind } as Boundary);
}

/** One word of a shell that names a schedule: `--replay` takes it. */
export function scheduleText(schedule: Schedule): string {
  return schedule.map(({ fault, boundary }) => `${fault}@${boundaryText(boundary)}`).join('+');
}

/** The inverse of `scheduleText`, or what is wrong with the text, for people. */
export function readSchedule(text: string): { schedule: Schedule } | { problem: string } {
  const placements: Placement[] = [];
  for (const part of text.split(/\+(?=[a-z_]+@)/)) {
    const at = part.indexOf('@');
    if (at < 0) return { problem: `\`${part}\` is not FAULT@BOUNDARY` };
    const fault = FAULT_NAMES.find((name) => name === part.slice(0, at));
    if (fault === undefined)
      return {
        problem: `there is no fault \`${part.slice(0, at)}\`; there are ${FAULT_NAMES.join(', ')}`,
      };
    const boundary = readBoundary(part.slice(at + 1));
    if (boundary === null)
      return {
        problem: `\`${part.slice(at + 1)}\` is no boundary; one is, for example, request:coordinator:POST:/api/v1/submissions:1`,
      };
    if (!FAULTS[fault].at(boundary))
      return { problem: `${fault} cannot be placed at ${boundaryText(boundary)}` };
    placements.push({ fault, boundary });
  }
  return { schedule: placements };
}

/** How many boundaries there are, by kind, and at how many of them a fault has happened. */
export interface Coverage {
  readonly kind: string;
  readonly boundaries: number;
  readonly faulted: number;
}

/** `fired`: the placements that the other side has logged. */
export function coverageOf(
  boundaries: readonly Boundary[],
  fired: readonly Placement[],
): Coverage[] {
  const faulted = new Set(fired.map(({ boundary }) => boundaryText(boundary)));
  const kinds = new Map<string, { boundaries: number; faulted: number }>();
  for (const boundary of boundaries) {
    const kind = coverageKind(boundary);
    const count = kinds.get(kind) ?? { boundaries: 0, faulted: 0 };
    count.boundaries += 1;
    if (faulted.has(boundaryText(boundary))) count.faulted += 1;
    kinds.set(kind, count);
  }
  return [...kinds].map(([kind, count]) => ({ kind, ...count }));
}

function coverageKind(boundary: Boundary): string {
  if (boundary.kind === 'record') return `record ${boundary.record}`;
  return `${boundary.kind} of a ${isRead(boundary) ? 'read' : 'change'}`;
}
