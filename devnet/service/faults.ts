/**
 * Faults that an operator asks for: the next requests on a route are dropped, delayed or answered
 * with what a proxy might answer. They live in memory and are used up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';

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
  ]),
  times: z.number().int().positive().default(1),
  statusCode: z.number().int().min(400).max(599).default(503),
  retryAfterSeconds: z.number().int().positive().nullable().default(null),
  delayMs: z.number().int().nonnegative().default(1_000),
  sizeBytes: z
    .number()
    .int()
    .positive()
    .max(1024 ** 3)
    .default(200 * 1024 * 1024),
});

type Fault = Readonly<z.output<typeof faultSchema>>;
export type FaultyService = Fault['service'];

export interface FaultPlan {
  add(fault: Fault): void;
  /** Those still to come, oldest first. */
  list(): Fault[];
  clear(): void;
  /** The next fault for this request, which counts as used. */
  take(service: FaultyService, route: string): Fault | null;
}

export function createFaultPlan(): FaultPlan {
  let planned: Fault[] = [];
  return {
    add: (fault) => {
      planned.push(fault);
    },
    list: () => [...planned],
    clear: () => {
      planned = [];
    },
    take: (service, route) => {
      const fault = planned.find(
        (each) => each.service === service && (each.route === '*' || each.route === route),
      );
      if (fault === undefined) return null;
      planned = planned.flatMap((each) => {
        if (each !== fault) return [each];
        return each.times > 1 ? [{ ...each, times: each.times - 1 }] : [];
      });
      return fault;
    },
  };
}

/** The name of a request's route, `GET /api/v1/tasks`. */
export function routeName(request: FastifyRequest): string {
  return `${request.method} ${request.routeOptions.url ?? request.url.split('?')[0] ?? ''}`;
}

/** Lets the plan's faults happen in a service. The routes of the devnet itself are spared. */
export function installFaults(app: FastifyInstance, service: FaultyService, plan: FaultPlan): void {
  const afterHandling = new WeakMap<FastifyRequest, Fault>();
  app.addHook('onRequest', async (request, reply) => {
    if (request.url.startsWith('/devnet/')) return;
    const fault = plan.take(service, routeName(request));
    if (fault === null) return;
    if (fault.kind === 'drop_after' || fault.kind === 'truncated_json')
      afterHandling.set(request, fault);
    else await failBeforeHandling(fault, request, reply);
  });
  app.addHook('onSend', async (request, _reply, payload) => {
    const fault = afterHandling.get(request);
    if (fault === undefined) return payload;
    if (fault.kind === 'drop_after') {
      request.raw.socket.destroy();
      return payload;
    }
    return typeof payload === 'string' ? payload.slice(0, Math.ceil(payload.length / 2)) : payload;
  });
}

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
