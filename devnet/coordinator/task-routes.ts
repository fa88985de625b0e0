/** Public pages and tasks. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { readBody, requireAdmin } from './access.js';
import type { CoordinatorParts } from './coordinator.js';
import { disclaimer } from './disclaimer.js';
import { onboardingPage } from './onboarding.js';
import { publicRecord, type TaskRecord } from './records.js';
import { rewardPolicySchema, readRewardPolicy, rewardSnapshot } from './rewards.js';
import { bestSubmission } from './submissions.js';
import { createTask, findTask, moveTask, taskCreationSchema } from './tasks.js';

interface ById {
  Params: { id: string };
}

export function addTaskRoutes(
  app: FastifyInstance,
  { state, adminToken, baseUrl }: CoordinatorParts,
): void {
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    await reply.code(204).send();
  });
  app.get('/', async (_request, reply) => {
    await reply.redirect('/dashboard', 307);
  });
  app.get('/dashboard', async (_request, reply) => {
    await reply
      .type('text/html; charset=utf-8')
      .send(
        '<!doctype html><title>devnet</title><p>Adit devnet. Its state: <a href="/api/v1/dashboard">JSON</a>.</p>',
      );
  });
  app.get('/api/v1/disclaimer', async () => disclaimer(baseUrl()));
  for (const path of ['/api/v1/disclaimer.md', '/disclaimer.md']) {
    app.get(path, async (_request, reply) => {
      await reply.type('text/markdown; charset=utf-8').send(disclaimer(baseUrl()).text);
    });
  }

  app.get('/api/v1/tasks', async () => state.tasks.list().map(publicRecord));
  app.post('/api/v1/tasks', async (request, reply) => {
    requireAdmin(adminToken, request);
    const task = createTask(state, readBody(request, taskCreationSchema));
    await reply.code(state.settings.read().createdStatusCode).send(publicRecord(task));
  });
  app.get<ById>('/api/v1/tasks/:id/onboard.md', async ({ params }, reply) => {
    const page = onboardingPage(findTask(state, params.id), baseUrl());
    await reply.type('text/markdown; charset=utf-8').send(page);
  });
  app.get<ById>('/api/v1/tasks/:id/best', async ({ params }) => {
    const task = findTask(state, params.id);
    const best = bestSubmission(state, task);
    return {
      task_id: task.id,
      metric_name: task.metric_name,
      metric_direction: task.metric_direction,
      metric_value: best?.observed_metrics[task.metric_name] ?? null,
      submission: best === null ? null : publicRecord(best),
    };
  });
  const moves: readonly (readonly [string, TaskRecord['task_state']])[] = [
    ['pause', 'paused'],
    ['resume', 'live'],
    ['close', 'closed'],
  ];
  for (const [verb, to] of moves) {
    app.post<ById>(`/api/v1/tasks/:id/${verb}`, async (request) => {
      requireAdmin(adminToken, request);
      return publicRecord(moveTask(state, request.params.id, to));
    });
  }

  app.get('/api/v1/reward-snapshot', async () => rewardSnapshot(state));
  app.get('/api/v1/reward-policy', async (request) => {
    requireAdmin(adminToken, request);
    return readRewardPolicy(state);
  });
  app.put('/api/v1/reward-policy', async (request) => {
    requireAdmin(adminToken, request);
    const policy = readBody(request, rewardPolicySchema);
    state.database.writeValue('reward_policy', policy);
    return policy;
  });
  app.get<{ Querystring: Record<string, string> }>('/api/v1/idea-rewards', async ({ query }) => {
    const filters = z.object({
      task_id: z.string().optional(),
      submission_id: z.string().optional(),
      proposer_hotkey: z.string().optional(),
      implementer_hotkey: z.string().optional(),
    });
    return state.ideaRewards.list(filters.parse(query));
  });
  app.get('/api/v1/onchain/status', async () => ({
    enabled: false,
    note: 'there is no chain behind this development network',
  }));
  app.get('/api/v1/dashboard', async (_request, reply) => {
    await reply.header('cache-control', 'no-store').send({
      tasks: state.tasks.list().map(publicRecord),
      active_claims: state.claims.list({ status: 'active' }).length,
      pending_submissions: state.submissions.list({ status: 'pending_verification' }).length,
      accepted_submissions: state.submissions.list({ status: 'accepted' }).length,
    });
  });
}
