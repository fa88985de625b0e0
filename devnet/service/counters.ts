import type { FastifyInstance } from 'fastify';
import { routeName, type FaultyService } from './faults.js';

/** How often each route was asked since the devnet started, and how it answered. */
export interface RequestCounters {
  count(service: FaultyService, route: string): void;
  answered(service: FaultyService, route: string, statusCode: number): void;
  read(): Record<
    FaultyService,
    Record<string, { requests: number; statuses: Record<string, number> }>
  >;
}

export function createRequestCounters(): RequestCounters {
  const counts: ReturnType<RequestCounters['read']> = { coordinator: {}, pool: {}, artifacts: {} };
  const entry = (
    service: FaultyService,
    route: string,
  ): { requests: number; statuses: Record<string, number> } =>
    (counts[service][route] ??= { requests: 0, statuses: {} });
  return {
    count: (service, route) => {
      entry(service, route).requests += 1;
    },
    answered: (service, route, statusCode) => {
      const { statuses } = entry(service, route);
      statuses[statusCode] = (statuses[statusCode] ?? 0) + 1;
    },
    read: () => counts,
  };
}

export function installCounters(
  app: FastifyInstance,
  service: FaultyService,
  counters: RequestCounters,
): void {
  app.addHook('onRequest', async (request) => {
    if (request.is404 || request.url.startsWith('/devnet/')) return;
    counters.count(service, routeName(request));
  });
  app.addHook('onSend', async (request, reply, payload) => {
    if (!request.is404 && !request.url.startsWith('/devnet/')) {
      counters.answered(service, routeName(request), reply.statusCode);
    }
    return payload;
  });
}
