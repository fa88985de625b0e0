/** The coordinator's HTTP service: FastAPI's error shapes, numbers as they came, the routes of protocol 2.2. */
import fastify, { type FastifyInstance } from 'fastify';
import { z } from 'zod';
import { isJsonNumber, writeJson } from '../auth/json-numbers.js';
import { installCounters, type RequestCounters } from '../service/counters.js';
import { installFaults, type FaultPlan } from '../service/faults.js';
import { parseRequestBody } from './access.js';
import { addCountingRoutes } from './counting-routes.js';
import { addDevnetRoutes, type DevnetControls } from './devnet-routes.js';
import { addEvaluationRoutes } from './evaluation-routes.js';
import { addMiningRoutes } from './mining-routes.js';
import { Problem, bodyProblem } from './problem.js';
import { expireClaims, now, type CoordinatorState } from './state.js';
import { addTaskRoutes } from './task-routes.js';

/** A patch of 256 KiB may take six times that as escaped JSON; logs come on top. */
const BODY_LIMIT_BYTES = 8 * 1024 * 1024;

/** Objects whose members are data, where an extra one would be wrong. */
const MAPS = new Set(['claimed_metrics', 'observed_metrics', 'validator_benchmark_env']);

export interface CoordinatorParts {
  readonly state: CoordinatorState;
  readonly adminToken: string;
  /** Its own base URL, known once it listens. */
  readonly baseUrl: () => string;
  readonly faults: FaultPlan;
  readonly counters: RequestCounters;
  readonly controls: DevnetControls;
}

export function createCoordinator(parts: CoordinatorParts): FastifyInstance {
  const { state } = parts;
  const app = fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (_request: unknown, body: Buffer) =>
    parseRequestBody(body),
  );
  app.setReplySerializer((payload) => writeJson(payload));
  app.addHook('preSerialization', async (request, _reply, payload) =>
    state.settings.read().extraKeys && !request.url.startsWith('/devnet/')
      ? withUnknownKeys(payload)
      : payload,
  );
  app.addHook('onSend', async (_request, reply, payload) => {
    // Node writes the machine's time; with signatures on the devnet's clock a client must see that one.
    if (state.settings.read().signatureClock === 'devnet') {
      reply.header('date', new Date(state.clock.nowMs()).toUTCString());
    }
    return payload;
  });
  installCounters(app, 'coordinator', parts.counters);
  installFaults(app, 'coordinator', parts.faults);
  app.addHook('preHandler', async () => {
    expireClaims(state);
  });
  app.setErrorHandler(async (error, request, reply) => {
    const problem = toProblem(error);
    if (problem.statusCode === 500) {
      process.stderr.write(`${now(state)} ${request.method} ${request.url}: ${String(error)}\n`);
    }
    await reply.code(problem.statusCode).headers(problem.headers).send({ detail: problem.detail });
  });
  app.setNotFoundHandler(async (_request, reply) => {
    await reply.code(404).send({ detail: 'Not Found' });
  });
  addTaskRoutes(app, parts);
  addMiningRoutes(app, parts);
  addEvaluationRoutes(app, parts);
  addCountingRoutes(app, state);
  addDevnetRoutes(app, parts);
  return app;
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  // Bodies are read by `readBody`; what is left is a query that does not fit.
  if (error instanceof z.ZodError) return bodyProblem(error);
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number') {
    return new Problem(error.statusCode, error.message);
  }
  return new Problem(500, 'Internal Server Error');
}

/** Every object with one member that no client knows: production may add some at any time. */
function withUnknownKeys(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((element) => withUnknownKeys(element));
  if (typeof value !== 'object' || value === null || isJsonNumber(value) || MAPS.has(name))
    return value;
  const members = Object.entries(value).map(([key, member]) => [key, withUnknownKeys(member, key)]);
  return { ...Object.fromEntries(members), x_devnet_unknown: 'a member that clients must ignore' };
}
