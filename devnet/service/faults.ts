/**
 * Faults that an operator asks for: the next requests on a route are dropped, delayed or answered
 * with what a proxy might answer. They live in memory and are used up.
 *
 * `hold`, `detach` and `hold_reply` wait for an event, not for a time: for an answer on the route `until`, or for the
 * operator's release.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { VALIDATOR_AGENT } from '../validator/agent.js';

export const faultSchema = z.strictObject({
  service: z.enum(['coordinator', 'pool', 'artifacts']).default('coordinator'),
  /** `POST /api/v1/submissions`, path members as in the route (`:id`); `*` means every route. */
  route: z.string().min(1),
  kind: z.enum([
    'drop_before',
    'drop_after',
    'delay',
    'status',
    'html',
    'redirect',
    'truncated_json',
    'large_body',
    // Done, and then answered as if it were not.
    'status_after',
    // Read, and done only after the event.
    'hold',
    // As `hold`, and the connection is dropped at once: the request is on its way, its sender knows nothing.
    'detach',
    // Done, and answered only after the event.
    'hold_reply',
  ]),
  times: z.number().int().positive().default(1),
  /**
   * Which request on the route is the first to meet it, counted from 1 since it was asked for, those of the devnet's
   * own validator left out; null: the next one, whoever sends it.
   */
  number: z.number().int().positive().max(1_000_000).nullable().default(null),
  statusCode: z.number().int().min(400).max(599).default(503),
  retryAfterSeconds: z.number().int().positive().nullable().default(null),
  delayMs: z.number().int().nonnegative().default(1_000),
  /** Route whose next answer is the event; null: the operator's release alone. */
  until: z.string().min(1).nullable().default(null),
  sizeBytes: z
    .number()
    .int()
    .positive()
    .max(1024 ** 3)
    .default(200 * 1024 * 1024),
});

type Fault = Readonly<z.output<typeof faultSchema>>;
export type FaultyService = Fault['service'];

/** A fault that happened. */
interface FiredFault {
  readonly service: FaultyService;
  readonly route: string;
  readonly kind: Fault['kind'];
  /** ISO 8601, UTC, of this machine. */
  readonly at: string;
}

export interface FaultPlan {
  add(fault: Fault): void;
  /** Those still to come, oldest first. */
  list(): Fault[];
  clear(): void;
  /** Those that happened, oldest first. */
  fired(): FiredFault[];
  /** How many requests wait for their event. */
  held(): number;
  /** Waits for the event of a fault. */
  hold(fault: Fault): Promise<void>;
  /** An answer went out: it may be an event. */
  answered(route: string): void;
  /** Lets all that wait go on; how many. */
  release(): number;
  /** The next fault for this request, which counts as used. Called once for every request. */
  take(service: FaultyService, route: string, by?: Requester): Fault | null;
}

type Requester = 'client' | 'validator';

/** A fault that is asked for, and how many requests it still lets pass. */
interface Planned {
  readonly fault: Fault;
  readonly toPass: number;
}

/** `journal` is told of every request, of every fault that happens and of every request that waits, in order. */
export function createFaultPlan(journal: (line: object) => void = () => {}): FaultPlan {
  let planned: Planned[] = [];
  let waiting: { fault: Fault; go: () => void }[] = [];
  const fired: FiredFault[] = [];
  const letGo = (which: (fault: Fault) => boolean): number => {
    const going = waiting.filter(({ fault }) => which(fault));
    waiting = waiting.filter(({ fault }) => !which(fault));
    for (const { go } of going) go();
    return going.length;
  };
  return {
    add: (fault) => {
      planned.push({ fault, toPass: (fault.number ?? 1) - 1 });
    },
    list: () => planned.map(({ fault }) => fault),
    clear: () => {
      planned = [];
      letGo(() => true);
    },
    fired: () => [...fired],
    held: () => waiting.length,
    hold: (fault) =>
      new Promise((go) => {
        waiting.push({ fault, go });
        journal({ event: 'held', service: fault.service, route: fault.route, kind: fault.kind });
      }),
    answered: (route) => {
      letGo(({ until }) => until === route);
    },
    release: () => letGo(() => true),
    take: (service, route, by = 'client') => {
      journal({ event: 'request', service, route, by });
      const meets = ({ fault }: Planned): boolean =>
        fault.service === service &&
        (fault.route === '*' || fault.route === route) &&
        (fault.number === null || by === 'client');
      const next = planned.find((each) => meets(each) && each.toPass === 0);
      planned = planned.flatMap((each) => {
        if (each === next) {
          const { fault } = each;
          const times = fault.times - 1;
          return times > 0 ? [{ ...each, fault: { ...fault, times } }] : [];
        }
        return meets(each) ? [{ ...each, toPass: Math.max(0, each.toPass - 1) }] : [each];
      });
      if (next === undefined) return null;
      const { kind } = next.fault;
      fired.push({ service, route, kind, at: new Date().toISOString() });
      journal({ event: 'fault', service, route, kind });
      return next.fault;
    },
  };
}

/** The name of a request's route, `GET /api/v1/tasks`. */
export function routeName(request: FastifyRequest): string {
  return `${request.method} ${request.routeOptions.url ?? request.url.split('?')[0] ?? ''}`;
}

/** Lets the plan's faults happen in a service. The routes of the devnet itself are spared. */
export function installFaults(app: FastifyInstance, service: FaultyService, plan: FaultPlan): void {
  const later = new WeakMap<FastifyRequest, Fault>();
  app.addHook('onRequest', async (request, reply) => {
    if (request.url.startsWith('/devnet/')) return;
    const by = request.headers['user-agent'] === VALIDATOR_AGENT ? 'validator' : 'client';
    const fault = plan.take(service, routeName(request), by);
    if (fault === null) return;
    if (LATER.has(fault.kind)) later.set(request, fault);
    else await failBeforeHandling(fault, request, reply);
  });
  app.addHook('preHandler', async (request) => {
    const fault = later.get(request);
    if (fault?.kind !== 'hold' && fault?.kind !== 'detach') return;
    if (fault.kind === 'detach') request.raw.socket.destroy();
    await plan.hold(fault);
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const fault = later.get(request);
    switch (fault?.kind) {
      case 'drop_after':
        request.raw.socket.destroy();
        return payload;
      case 'hold_reply':
        await plan.hold(fault);
        return payload;
      case 'status_after':
        reply.code(fault.statusCode);
        return JSON.stringify({ detail: 'fault asked for by the operator of this devnet' });
      case 'truncated_json':
        return typeof payload === 'string'
          ? payload.slice(0, Math.ceil(payload.length / 2))
          : payload;
      default:
        return payload;
    }
  });
  app.addHook('onResponse', async (request) => {
    plan.answered(routeName(request));
  });
}

/** Faults of a request that is handled. */
const LATER: ReadonlySet<Fault['kind']> = new Set([
  'drop_after',
  'truncated_json',
  'status_after',
  'hold',
  'detach',
  'hold_reply',
]);

async function failBeforeHandling(
  fault: Fault,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  switch (fault.kind) {
    case 'drop_before':
      reply.hijack();
      request.raw.socket.destroy();
      return;
    case 'delay':
      await sleep(fault.delayMs);
      return;
    case 'status':
      if (fault.retryAfterSeconds !== null)
        reply.header('retry-after', String(fault.retryAfterSeconds));
      await reply
        .code(fault.statusCode)
        .send({ detail: 'fault asked for by the operator of this devnet' });
      return;
    case 'html':
      await reply
        .code(fault.statusCode === 503 ? 200 : fault.statusCode)
        .type('text/html')
        .send('<html><body><h1>Welcome to the proxy</h1></body></html>');
      return;
    case 'redirect':
      await reply.redirect('https://example.org/elsewhere', 307);
      return;
    case 'large_body':
      await reply.type('application/json').send(`"${'x'.repeat(fault.sizeBytes - 2)}"`);
      return;
    default:
      throw new Error(`not a fault before handling: ${fault.kind}`);
  }
}
