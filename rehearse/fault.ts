/** What can go wrong, and where: one entry for each fault that a rehearsal knows. */
import { isRead, type Boundary } from './boundary.js';

/**
 * Faults after which the same outcomes are right (see right-outcomes.ts).
 *
 * - `lost`: a request, its reply or the sense of it is lost. `refused`: the other side says "not now".
 * - `ended`: the worker is gone. `host`: the process host is. `program`: a program that the pipeline started is.
 * - `restarted`: the other side, or the Temporal server, is away for a moment.
 * - `late`: time has passed. `expired`: so much that claims are over.
 * - `rewound`: the run goes back to before what it has done. `again`: it is cancelled, and another run of the round
 *   goes on.
 */
export const FAULT_CLASSES = [
  'lost',
  'refused',
  'ended',
  'host',
  'program',
  'restarted',
  'late',
  'expired',
  'rewound',
  'again',
] as const;
export type FaultClass = (typeof FAULT_CLASSES)[number];

interface FaultEntry {
  readonly class: FaultClass;
  readonly summary: string;
  /** Who must have logged that it happened: the devnet, or the process that stopped for it. */
  readonly by: 'devnet' | 'runner';
  readonly at: (boundary: Boundary) => boolean;
  /** Something of it may still go on when the run is over: no other run is played with the same processes. */
  readonly lasts?: true;
}

const atRequest = ({ kind }: Boundary): boolean => kind === 'request';
const atReply = ({ kind }: Boundary): boolean => kind === 'reply';
const atChange = (boundary: Boundary): boolean => boundary.kind !== 'record' && !isRead(boundary);
const atRecord = (...records: readonly string[]) => {
  return (boundary: Boundary): boolean =>
    boundary.kind === 'record' && records.includes(boundary.record);
};

/** The coordinator's routes that a look can follow, and the list which that look reads. */
const LOOKS: { readonly [route: string]: string } = {
  'POST /api/v1/tasks/:id/claim': 'GET /api/v1/claims',
  'POST /api/v1/submissions': 'GET /api/v1/claims',
  'POST /api/v1/claims/:id/cancel': 'GET /api/v1/claims',
};

/** The route whose answer ends the look for what a request has done; null where nothing looks. */
export function lookAfter(boundary: Boundary): string | null {
  if (boundary.kind === 'record' || boundary.service !== 'coordinator') return null;
  return LOOKS[boundary.route] ?? null;
}

const hasLook = (boundary: Boundary): boolean => lookAfter(boundary) !== null;

export const FAULTS = {
  drop_request: {
    class: 'lost',
    summary: 'the request never arrives',
    by: 'devnet',
    at: atRequest,
  },
  drop_reply: {
    class: 'lost',
    summary: 'it is done, and the reply is lost',
    by: 'devnet',
    at: atReply,
  },
  delay_past_look: {
    class: 'lost',
    summary: 'the connection is lost, and the request is done after the look for it',
    by: 'devnet',
    at: (boundary) => atRequest(boundary) && hasLook(boundary),
  },
  lagging_lists: {
    class: 'lost',
    summary: 'the reply is lost, and lists do not show yet what was done',
    by: 'devnet',
    at: (boundary) => atReply(boundary) && hasLook(boundary),
  },
  html: {
    class: 'lost',
    summary: 'a page of a proxy comes in place of the reply',
    by: 'devnet',
    at: atRequest,
  },
  truncated_json: {
    class: 'lost',
    summary: 'it is done, and half of the reply comes',
    by: 'devnet',
    at: atReply,
  },
  unavailable: {
    class: 'refused',
    summary: '503, three times in a row',
    by: 'devnet',
    at: atRequest,
  },
  too_many: {
    class: 'refused',
    summary: '429 with Retry-After',
    by: 'devnet',
    at: atRequest,
  },
  kill_worker: {
    class: 'ended',
    summary: 'the worker is killed, and another one started',
    by: 'runner',
    at: (boundary) => atChange(boundary) || boundary.kind === 'record',
  },
  kill_host: {
    class: 'host',
    summary: 'the process host is killed, and another one started',
    by: 'runner',
    at: atRecord('program'),
  },
  kill_program: {
    class: 'program',
    summary: 'the program is killed',
    by: 'runner',
    at: atRecord('program'),
  },
  restart_coordinator: {
    class: 'restarted',
    summary: 'the local network is killed and started again',
    by: 'runner',
    at: (boundary) => atChange(boundary) || atRecord('ended')(boundary),
  },
  restart_server: {
    class: 'restarted',
    summary: 'the Temporal server is killed and started again',
    by: 'runner',
    at: (boundary) => (atReply(boundary) && atChange(boundary)) || atRecord('ended')(boundary),
  },
  jump_clock: {
    class: 'late',
    summary: 'the clock of the other side jumps a minute ahead',
    by: 'runner',
    lasts: true,
    at: (boundary) => atRequest(boundary) && atChange(boundary),
  },
  expire_claims: {
    class: 'expired',
    summary: 'every claim made so far runs out',
    by: 'runner',
    lasts: true,
    at: atChange,
  },
  reset_run: {
    class: 'rewound',
    summary: 'the run is reset to before its last step',
    by: 'runner',
    lasts: true,
    at: (boundary) => (atReply(boundary) && atChange(boundary)) || atRecord('ended')(boundary),
  },
  cancel_and_retry: {
    class: 'again',
    summary: 'the run is cancelled, then `adit retry`',
    by: 'runner',
    lasts: true,
    at: (boundary) => (atReply(boundary) && atChange(boundary)) || atRecord('ended')(boundary),
  },
} as const satisfies { readonly [name: string]: FaultEntry };

export type FaultName = keyof typeof FAULTS;

export const FAULT_NAMES = Object.keys(FAULTS) as readonly FaultName[];

/** Whether something of it may still go on when its run is over. */
export function lasts(name: FaultName): boolean {
  const entry: FaultEntry = FAULTS[name];
  return entry.lasts === true;
}

/** The faults that can be placed at a boundary, in the order of the table. */
export function faultsAt(boundary: Boundary): FaultName[] {
  return FAULT_NAMES.filter((name) => FAULTS[name].at(boundary));
}
