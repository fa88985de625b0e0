/** Validator jobs, verifications and peer evaluations. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { readBody, requireMiner, requireValidator } from './access.js';
import type { CoordinatorParts } from './coordinator.js';
import {
  evaluateAsPeer,
  findSubmission,
  finishJob,
  jobResultSchema,
  leaseJob,
  legacyResultSchema,
  openJobs,
  peerConsensus,
  peerEvaluationSchema,
  verifyLegacy,
  workListSchema,
} from './evaluations.js';
import { ordered } from './mining-routes.js';
import { Problem, notFound } from './problem.js';
import { publicRecord, type JobRecord } from './records.js';
import { findTask } from './tasks.js';

interface ById {
  Params: { id: string };
}

const verificationFilter = z.object({
  submission_id: z.string().optional(),
  status: z.string().optional(),
});
const evaluationFilter = verificationFilter.extend({ evaluator_hotkey: z.string().optional() });

export function addEvaluationRoutes(app: FastifyInstance, { state }: CoordinatorParts): void {
  const toJob = (job: JobRecord): object => {
    const submission = findSubmission(state, job.submission_id);
    return {
      job_id: job.id,
      id: job.id,
      status: job.status,
      submission_id: submission.id,
      submission: publicRecord(submission),
      replay_spec: submission.hidden.replay_spec,
      task: publicRecord(findTask(state, job.task_id)),
      lease_expires_at: job.hidden.leased_until,
      created_at: job.created_at,
    };
  };

  app.post('/api/v1/validator/submissions/scan', async (request) => {
    const hotkey = requireValidator(state, request);
    const { task_id } = readBody(request, workListSchema);
    return { jobs: openJobs(state, hotkey, task_id ?? null).map(toJob) };
  });
  app.post('/api/v1/validator/jobs/claim', async (request) => {
    const hotkey = requireValidator(state, request);
    const { task_id } = readBody(request, workListSchema);
    return toJob(leaseJob(state, hotkey, task_id ?? null));
  });
  app.post<ById>('/api/v1/validator/jobs/:id/result', async (request) => {
    const hotkey = requireValidator(state, request);
    return publicRecord(
      finishJob(state, hotkey, request.params.id, readBody(request, jobResultSchema)),
    );
  });
  app.post<ById>('/api/v1/submissions/:id/verify', async (request) => {
    if (!state.settings.read().legacyVerify)
      throw new Problem(503, 'legacy verification is not configured');
    const hotkey = requireValidator(state, request);
    return publicRecord(
      verifyLegacy(state, hotkey, request.params.id, readBody(request, legacyResultSchema)),
    );
  });
  app.get('/api/v1/verifications', async ({ query }) =>
    ordered(state, state.jobs.list(verificationFilter.parse(query))).map(publicRecord),
  );

  app.post<ById>('/api/v1/submissions/:id/peer-evaluate', async (request, reply) => {
    const hotkey = requireMiner(state, request);
    const evaluation = evaluateAsPeer(
      state,
      hotkey,
      request.params.id,
      readBody(request, peerEvaluationSchema),
    );
    await reply.code(state.settings.read().createdStatusCode).send(evaluation);
  });
  app.get<ById>('/api/v1/submissions/:id/peer-consensus', async ({ params }) => {
    const consensus = peerConsensus(state, findSubmission(state, params.id));
    if (consensus === null) throw notFound('Peer consensus');
    return consensus;
  });
  app.get('/api/v1/peer-evaluations', async ({ query }) =>
    ordered(state, state.peerEvaluations.list(evaluationFilter.parse(query))),
  );
}
