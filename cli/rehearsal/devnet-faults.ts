/** How a placement is asked of the devnet: a fault of its own, or the wait at which somebody else's fault is placed. */
import type { JsonObject } from '../../core/json.js';
import { FAULTS, lookAfter, type FaultName } from '../../rehearse/fault.js';
import type { Placement } from '../../rehearse/schedule.js';
import type { JournalLine } from './journals.js';

const BURST = 3;

const OWN: { readonly [F in FaultName]?: JsonObject } = {
  drop_request: { kind: 'drop_before' },
  drop_reply: { kind: 'drop_after' },
  lagging_lists: { kind: 'drop_after' },
  delay_past_look: { kind: 'detach' },
  html: { kind: 'html' },
  truncated_json: { kind: 'truncated_json' },
  unavailable: { kind: 'status', statusCode: 503, times: BURST },
  too_many: { kind: 'status', statusCode: 429, retryAfterSeconds: 1 },
};

/**
 * The fault to ask for; null for a placement at a record. `seen`: how many requests on the route the devnet has had
 * already; null also where the one that is meant is among them.
 */
export function toDevnetFault({ fault, boundary }: Placement, seen: number): JsonObject | null {
  if (boundary.kind === 'record' || boundary.number <= seen) return null;
  const wait = { kind: boundary.kind === 'request' ? 'hold' : 'hold_reply' };
  const until = fault === 'delay_past_look' ? { until: lookAfter(boundary) } : {};
  const { service, route, number } = boundary;
  return { service, route, number: number - seen, ...(OWN[fault] ?? wait), ...until };
}

/** True for the line that says that the placement's moment is here, or, of a fault of the devnet's own, was. */
export function tellsOf(line: JournalLine, { fault, boundary }: Placement): boolean {
  if (boundary.kind === 'record') {
    return (
      line.event === 'record' &&
      line.stopped &&
      line.record === boundary.record &&
      line.path === boundary.path &&
      line.number === boundary.number
    );
  }
  if (line.event !== 'fault' && line.event !== 'held') return false;
  if (line.service !== boundary.service || line.route !== boundary.route) return false;
  if (FAULTS[fault].by === 'devnet')
    return line.event === 'fault' && line.kind === OWN[fault]?.['kind'];
  return (
    line.event === 'held' && line.kind === (boundary.kind === 'request' ? 'hold' : 'hold_reply')
  );
}
