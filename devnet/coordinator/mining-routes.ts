/** Claims, work items and submissions. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { readBody, requireAdmin, requireHotkey, requireMiner } from './access.js';
import {
  cancelClaim,
  claimSchema,
  claimTask,
  claimWorkItem,
  workItemClaimSchema,
} from './claims.js';
import type { CoordinatorParts } from './coordinator.js';
import { disclaimer } from './disclaimer.js';
import { findSubmission, peerConsensus } from './evaluations.js';
import { notFound } from './problem.js';
import { publicRecord, type ClaimRecord } from './records.js';
import type { CoordinatorState } from './state.js';
import { createSubmission, submissionSchema } from './submissions.js';
import { findTask } from './tasks.js';
import { toTimestamp } from '../state/clock.js';

interface ById {
  Params: { id: string };
}

const listFilter = z.object({ task_id: z.string().optional(), status: z.string().optional() });

/** Records in the order of the setting `listOrder`. */
export function ordered<T>(state: CoordinatorState, records: T[]): T[] {
  return state.settings.read().listOrder === 'newest_first' ? records.toReversed() : records;
}

/** Those that lists show already, by the setting `listLagSeconds`. */
function lagging<T extends { readonly created_at: string }>(
  state: CoordinatorState,
  records: T[],
): { shownBefore: string; listed: T[] } {
  const shownBefore = toTimestamp(
    state.clock.nowMs() - state.settings.read().listLagSeconds * 1_000,
  );
  return { shownBefore, listed: records.filter(({ created_at: at }) => at <= shownBefore) };
}

export function addMiningRoutes(app: FastifyInstance, parts: CoordinatorParts): void {
  const { state, adminToken } = parts;
  const withDisclaimer = (claim: ClaimRecord): object => ({
    ...claim,
    participation_disclaimer: disclaimer(parts.baseUrl()),
  });
  const created = (): number => state.settings.read().createdStatusCode;

  app.post<ById>('/api/v1/tasks/:id/claim', async (request, reply) => {
    const hotkey = requireMiner(state, request);
    const claim = claimTask(state, hotkey, request.params.id, readBody(request, claimSchema));
    await reply.code(created()).send(withDisclaimer(claim));
  });
  app.get('/api/v1/claims', async ({ query }) => {
    const { shownBefore, listed } = lagging(state, state.claims.list(listFilter.parse(query)));
    // A change that the list does not show yet is one of an active claim: there is no other.
    const claims = listed.map((claim) =>
      claim.updated_at <= shownBefore ? claim : { ...claim, status: 'active' },
    );
    return ordered(state, claims).map(withDisclaimer);
  });
  app.post<ById>('/api/v1/claims/:id/cancel', async (request) =>
    withDisclaimer(cancelClaim(state, requireHotkey(state, request), request.params.id)),
  );

  app.get('/api/v1/work-items', async ({ query }) =>
    ordered(state, state.workItems.list(listFilter.parse(query))),
  );
  app.post<ById>('/api/v1/work-items/:id/claim', async (request, reply) => {
    const hotkey = requireMiner(state, request);
    const claim = claimWorkItem(
      state,
      hotkey,
      request.params.id,
      readBody(request, workItemClaimSchema),
    );
    await reply.code(created()).send(withDisclaimer(claim));
  });

  app.post('/api/v1/submissions', async (request, reply) => {
    const hotkey = requireMiner(state, request);
    const submission = createSubmission(state, hotkey, readBody(request, submissionSchema));
    await reply.code(created()).send(publicRecord(submission));
  });
  app.get('/api/v1/submissions', async ({ query }) =>
    ordered(state, lagging(state, state.submissions.list(listFilter.parse(query))).listed).map(
      publicRecord,
    ),
  );
  app.get<ById>('/api/v1/submissions/:id', async ({ params }) =>
    publicRecord(findSubmission(state, params.id)),
  );
  app.get<ById>('/api/v1/submissions/:id/detail', async ({ params }) => {
    const submission = findSubmission(state, params.id);
    return {
      submission: publicRecord(submission),
      metric_name: findTask(state, submission.task_id).metric_name,
      verifications: state.jobs.list({ submission_id: submission.id }).map(publicRecord),
      peer_evaluations: state.peerEvaluations.list({ submission_id: submission.id }),
      peer_consensus: peerConsensus(state, submission),
      idea_rewards: state.ideaRewards.list({ submission_id: submission.id }),
    };
  });
  app.get<ById>('/api/v1/submissions/:id/execution.log', async ({ params }, reply) => {
    const log = findSubmission(state, params.id).hidden.execution_log;
    if (log === null) throw notFound('Execution log');
    await reply.type('text/plain; charset=utf-8').send(log);
  });
  app.get<ById>('/api/v1/submissions/:id/replay.log', async (request, reply) => {
    requireAdmin(adminToken, request);
    const log = state.jobs
      .list({ submission_id: findSubmission(state, request.params.id).id })
      .at(-1)?.hidden.replay_log;
    if (log === undefined || log === null) throw notFound('Replay log');
    await reply.type('text/plain; charset=utf-8').send(log);
  });
  app.get<ById>('/api/v1/submissions/:id/artifact', async ({ params }, reply) => {
    const uri = findSubmission(state, params.id).artifact_uri;
    if (uri === null) throw notFound('Artifact');
    await reply.redirect(uri, 307);
  });
}
