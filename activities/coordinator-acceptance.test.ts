import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acceptanceSchema, type Submission } from '../compiler/values.js';
import { NotYet } from '../core/error.js';
import { replyWith, type Fault } from '../test/fakes/fake-coordinator.js';
import {
  makeClaim,
  makeWork,
  startRound,
  type Round,
  type Work,
} from '../test/support/coordinator-round.js';
import { coordinatorAcceptance } from './coordinator-acceptance.js';
import { coordinatorSubmit } from './coordinator-submit.js';

let round: Round;
let work: Work;
let submission: Submission;
beforeEach(async () => {
  round = await startRound();
  work = await makeWork(round);
  const claim = await makeClaim(round);
  ({ submission } = await coordinatorSubmit.run({ ...work, claim }, round.context('submit')));
});
afterEach(() => round.close());

const wait = (attempt = 1) =>
  coordinatorAcceptance.run(
    { submission, task: work.task },
    round.context('accepted', { attempt }),
  );
const decide = (change: object, verifications: object[] = []): void => {
  Object.assign(round.fake.submissions[0] ?? {}, change);
  round.fake.verifications.set(submission.id, JSON.parse(JSON.stringify(verifications)));
};
const failure = (attempt?: number): Promise<unknown> =>
  wait(attempt).catch((error: unknown) => error);

describe('coordinator.acceptance', () => {
  it('returns the metrics that the validator observed', async () => {
    decide({ status: 'accepted', observed_metrics: { heldout_ppl: 255.1, device: 'cpu' } });
    const { acceptance } = await wait();
    expect(acceptanceSchema.parse(acceptance)).toMatchObject({
      submissionId: submission.id,
      status: 'accepted',
      observedMetrics: { heldout_ppl: 255.1 },
    });
    const record = JSON.parse(
      (await round.adapters.store.read(acceptance.record)).toString(),
    ) as object;
    expect(record).toMatchObject({
      submission: { status: 'accepted' },
      detail: { verifications: [] },
    });
  });

  it('takes them from the verification where the submission has none', async () => {
    decide({ status: 'accepted' }, [
      { status: 'error', observed_metrics: { heldout_ppl: 1 } },
      { status: 'accepted', observed_metrics: { heldout_ppl: 255 } },
    ]);
    expect((await wait()).acceptance.observedMetrics).toEqual({ heldout_ppl: 255 });
  });

  it('does not call it accepted without the metric of the task', async () => {
    decide({ status: 'accepted', observed_metrics: { other: 1 } });
    await expect(wait()).rejects.toMatchObject({
      code: 'METRIC_MISSING',
      message: `The submission ${submission.id} was accepted, but without an observed heldout_ppl.`,
    });
  });

  it('ends with the notes of a rejection', async () => {
    decide({ status: 'rejected' }, [
      { status: 'rejected', notes: 'validator_rejection=heldout_ppl\n' },
    ]);
    await expect(wait()).rejects.toMatchObject({
      code: 'SUBMISSION_REJECTED',
      message: `The submission ${submission.id} ended as rejected: validator_rejection=heldout_ppl.`,
    });
  });

  it('ends with the notes of an error', async () => {
    decide({ status: 'error' }, [{ status: 'error', notes: 'Replay preparation failed' }]);
    await expect(wait()).rejects.toMatchObject({
      code: 'SUBMISSION_ERRORED',
      message: `The submission ${submission.id} ended as error: Replay preparation failed.`,
    });
  });

  it('does without the detail where it cannot be had', async () => {
    decide({ status: 'rejected' });
    round.fake.failNext(
      `GET /api/v1/submissions/${submission.id}/detail`,
      replyWith(401, { detail: 'sign' }),
    );
    await expect(wait()).rejects.toMatchObject({
      message: `The submission ${submission.id} ended as rejected: no notes were given.`,
    });
  });

  it.each(['pending_verification', 'replaying'])('waits while the status is %s', async (status) => {
    decide({ status });
    const error = await failure();
    expect(error).toBeInstanceOf(NotYet);
    expect(error).toMatchObject({
      code: 'SUBMISSION_UNDECIDED',
      message: `The submission ${submission.id} is "${status}".`,
    });
  });

  it('waits a second at first and ten minutes in the end', async () => {
    const waits: number[] = [];
    for (const attempt of [1, 2, 5, 10, 20, 1_000]) {
      waits.push(((await failure(attempt)) as NotYet).afterMs);
    }
    expect(waits[0]).toBeLessThan(1_200);
    expect(waits.at(-1)).toBeLessThanOrEqual(660_000);
    expect(waits.at(-1)).toBeGreaterThanOrEqual(600_000);
    expect(waits.toSorted((a, b) => a - b).slice(0, 4)).toEqual(waits.slice(0, 4));
  });

  it.each<[string, Fault]>([
    ['a dropped connection', { kind: 'drop', when: 'before' }],
    ['a fault', replyWith(503, 'down')],
    ['a page of a proxy', replyWith(200, '<html>')],
  ])('goes on waiting through %s', async (_what, fault) => {
    decide({ status: 'accepted', observed_metrics: { heldout_ppl: 255 } });
    round.fake.failNext('GET /api/v1/submissions/', fault);
    expect(await failure()).toMatchObject({ name: 'NotYet', code: 'SUBMISSION_UNDECIDED' });
    await wait();
  });

  it('asks a person when the time of the step is over', async () => {
    const context = round.context('accepted', { deadlineMs: Date.now() + 1_000 });
    await expect(
      coordinatorAcceptance.run({ submission, task: work.task }, context),
    ).rejects.toMatchObject({
      name: 'StepError',
      code: 'SUBMISSION_UNDECIDED',
      hint: expect.stringContaining('adit decide'),
    });
  });

  it('waits as long as a rate limit asks for', async () => {
    round.fake.failNext('GET /api/v1/submissions/', replyWith(429, '', { 'Retry-After': '300' }));
    expect(await failure()).toMatchObject({ name: 'NotYet', afterMs: 300_000 });
  });
});
