/**
 * Where a fault can be placed: an event that a run without a fault has shown, never a moment in time.
 *
 * - `request`: the k-th request of the run on a route has arrived, and is not handled yet.
 * - `reply`: it was handled, and its reply is not on its way yet.
 * - `record`: the k-th record of one kind about one step is on the disk.
 */
export const SERVICES = ['coordinator', 'pool', 'artifacts'] as const;
export type Service = (typeof SERVICES)[number];

/**
 * - `ended`: how a step ended. `effect`: the audit of an effect was written. `try`: a request of it is about to be sent.
 * - `program`: a program is about to begin.
 */
export const RECORDS = ['ended', 'effect', 'try', 'program'] as const;
export type RecordKind = (typeof RECORDS)[number];

/** `METHOD /path`, members of the path as in the route (`:id`). */
interface OfRequest {
  readonly service: Service;
  readonly route: string;
}

interface OfRecord {
  readonly record: RecordKind;
  readonly path: string;
}

/** Something that happened in a run, in the order in which it did. */
export type TraceEvent =
  ({ readonly kind: 'request' } & OfRequest) | ({ readonly kind: 'record' } & OfRecord);

/** `number` counts the events that are equal in all else, from 1. */
export type Boundary =
  | ({ readonly kind: 'request' | 'reply'; readonly number: number } & OfRequest)
  | ({ readonly kind: 'record'; readonly number: number } & OfRecord);

/**
 * The boundaries of a trace, in its order. A read that follows its equal on the same service is a look of a poll, of
 * which another run may have more or fewer: all of them in a row are one boundary.
 */
export function boundariesOf(trace: readonly TraceEvent[]): Boundary[] {
  const counts = new Map<string, number>();
  const last = new Map<Service, string>();
  return trace.flatMap((event): Boundary[] => {
    const key = eventKey(event);
    const number = (counts.get(key) ?? 0) + 1;
    counts.set(key, number);
    if (event.kind === 'record') return [{ ...event, number }];
    const isPoll = isRead(event) && last.get(event.service) === key;
    last.set(event.service, key);
    if (isPoll) return [];
    return [
      { ...event, kind: 'request', number },
      { ...event, kind: 'reply', number },
    ];
  });
}

/** True for a request that changes nothing. */
export function isRead({ route }: OfRequest): boolean {
  return /^(GET|HEAD) /.test(route);
}

/** True for a request that no step type makes: a counting route is asked by commands of the pipeline alone. */
export function isOfCommand(boundary: Boundary): boolean {
  return boundary.kind !== 'record' && boundary.route === 'POST /effects/:name';
}

/** Paths of the steps that act on the outside: those with an audit. */
export function effectPaths(boundaries: readonly Boundary[]): ReadonlySet<string> {
  return new Set(
    boundaries.flatMap((one) =>
      one.kind === 'record' && one.record === 'effect' ? [one.path] : [],
    ),
  );
}

/**
 * Those where something that cannot be taken back is about to happen, or has just happened. `trials` are paths of steps
 * that put a file only to see whether its place takes one.
 */
export function effectBoundaries(
  boundaries: readonly Boundary[],
  trials: ReadonlySet<string> = new Set(),
): ReadonlySet<Boundary> {
  const paths = effectPaths(boundaries);
  return new Set(
    boundaries.filter((one, at) => {
      if (one.kind === 'record') return paths.has(one.path);
      if (isRead(one)) return false;
      return one.service !== 'artifacts' || !trials.has(endedNext(boundaries, at));
    }),
  );
}

/** The step that ends next, which is the one that has asked where nothing goes on beside it; empty where none does. */
function endedNext(boundaries: readonly Boundary[], at: number): string {
  for (const one of boundaries.slice(at))
    if (one.kind === 'record' && one.record === 'ended') return one.path;
  return '';
}

/** One word of a shell, but for steps in lists, whose `#` is no comment inside of a word: `request:coordinator:POST:/api/v1/submissions:1`. */
export function boundaryText(boundary: Boundary): string {
  const of =
    boundary.kind === 'record'
      ? `${boundary.record}:${boundary.path}`
      : `${boundary.service}:${boundary.route.replace(' ', ':')}`;
  return `${boundary.kind}:${of}:${boundary.number}`;
}

/** The inverse of `boundaryText`; null for what is none. */
export function readBoundary(text: string): Boundary | null {
  const match = /^(request|reply|record):(.+):([1-9]\d{0,5})$/.exec(text);
  if (match === null) return null;
  const [, kind, of = '', digits] = match;
  const number = Number(digits);
  if (kind === 'record') {
    const at = of.indexOf(':');
    const record = RECORDS.find((one) => one === of.slice(0, at));
    const path = of.slice(at + 1);
    return record === undefined || path === '' ? null : { kind, record, path, number };
  }
  const request = /^([a-z]+):([A-Z]+):(\/.*)$/.exec(of);
  const service = SERVICES.find((one) => one === request?.[1]);
  if (request === null || service === undefined) return null;
  const route = `${request[2]} ${request[3]}`;
  return { kind: kind === 'reply' ? 'reply' : 'request', service, route, number };
}

function eventKey(event: TraceEvent): string {
  return event.kind === 'record'
    ? `${event.record} ${event.path}`
    : `${event.service} ${event.route}`;
}
