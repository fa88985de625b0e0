import { cryptoWaitReady } from '@polkadot/util-crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createSigner, get, type Reply, type Signer } from '../testing/network-client.js';
import { runCoordinator, type RunningCoordinator } from '../testing/running-coordinator.js';

let coordinator: RunningCoordinator;
let miner: Signer;
let task: string;

beforeAll(async () => {
  await cryptoWaitReady();
});
beforeEach(async () => {
  coordinator = await runCoordinator();
  miner = createSigner();
  task = await coordinator.addTask({});
});
afterEach(async () => {
  await coordinator.close();
});

const COMMIT = '0123456789abcdef0123456789abcdef01234567';

async function claim(by: Signer = miner, on: string = task): Promise<Reply> {
  return by.call(coordinator.url, 'POST', `/api/v1/tasks/${on}/claim`, {
    claim_description: 'a test',
  });
}

async function submit(fields: Record<string, unknown>, by: Signer = miner): Promise<Reply> {
  return by.call(coordinator.url, 'POST', '/api/v1/submissions', {
    base_ref: COMMIT,
    patch: 'diff --git a/pack/train.py b/pack/train.py\n',
    summary: 'a test',
    claimed_metrics: { heldout_ppl: 8.25 },
    ...fields,
  });
}

async function claimAndSubmit(
  fields: Record<string, unknown> = {},
  by: Signer = miner,
  on = task,
): Promise<Reply> {
  return submit({ claim_id: (await claim(by, on)).json['id'], ...fields }, by);
}

async function validator(): Promise<Signer> {
  const signer = createSigner();
  await coordinator.admin('POST', '/devnet/validators', { hotkey: signer.address });
  return signer;
}

const outcome = ({ status, json }: Reply): [number, unknown] => [status, json['detail']];

describe('validator jobs', () => {
  const result = async (
    judge: Signer,
    job: unknown,
    body: Record<string, unknown>,
  ): Promise<Reply> =>
    judge.call(coordinator.url, 'POST', `/api/v1/validator/jobs/${String(job)}/result`, {
      observed_metrics: {},
      ...body,
    });

  it('go to allowed hotkeys only, one by one under a lease, and 404 means none', async () => {
    const judge = await validator();
    const other = await validator();
    const claimJob = async (by: Signer): Promise<Reply> =>
      by.call(coordinator.url, 'POST', '/api/v1/validator/jobs/claim');
    expect((await claimJob(miner)).status).toBe(403);
    expect(outcome(await claimJob(judge))).toEqual([404, 'no pending validator jobs']);
    await claimAndSubmit();
    const job = await claimJob(judge);
    expect(job.status).toBe(200);
    expect((await claimJob(other)).status).toBe(404);
    coordinator.state.clock.advance(901);
    expect((await claimJob(other)).json['job_id']).toBe(job.json['job_id']);
  });

  it('decide a submission once; the verification has the job’s id', async () => {
    const judge = await validator();
    const submission = (await claimAndSubmit()).json['id'];
    const job = (await judge.call(coordinator.url, 'POST', '/api/v1/validator/jobs/claim')).json[
      'job_id'
    ];
    const lacking = await result(judge, job, { submission_id: submission, status: 'accepted' });
    expect(outcome(lacking)).toEqual([400, 'observed_metrics must contain heldout_ppl']);
    const accepted = {
      submission_id: submission,
      status: 'accepted',
      observed_metrics: { heldout_ppl: 7.5 },
    };
    expect((await result(judge, job, { ...accepted, replay_log: 'ran' })).status).toBe(200);
    expect(outcome(await result(judge, job, accepted))).toEqual([
      409,
      'the job already ended as accepted',
    ]);
    expect(coordinator.accepted()).toBe(1);
    const verifications = await get(
      coordinator.url,
      `/api/v1/verifications?submission_id=${String(submission)}`,
    );
    expect(verifications.list).toMatchObject([
      { id: job, status: 'accepted', observed_metrics: { heldout_ppl: 7.5 } },
    ]);
    const detail = await get(coordinator.url, `/api/v1/submissions/${String(submission)}/detail`);
    expect(detail.json).toMatchObject({
      metric_name: 'heldout_ppl',
      submission: { status: 'accepted' },
      peer_consensus: null,
    });
    const log = await coordinator.admin(
      'GET',
      `/api/v1/submissions/${String(submission)}/replay.log`,
    );
    expect(log.text).toBe('ran');
    const best = await get(coordinator.url, `/api/v1/tasks/${task}/best`);
    expect(best.json).toMatchObject({ metric_value: 7.5, submission: { id: submission } });
  });

  it('make a new best only of a better metric', async () => {
    const judge = await validator();
    for (const [ppl, best] of [
      [7.5, 7.5],
      [8, 7.5],
      [6, 6],
    ]) {
      const submission = (await claimAndSubmit()).json['id'];
      const job = (await judge.call(coordinator.url, 'POST', '/api/v1/validator/jobs/claim')).json[
        'job_id'
      ];
      await result(judge, job, {
        submission_id: submission,
        status: 'accepted',
        observed_metrics: { heldout_ppl: ppl },
      });
      expect((await get(coordinator.url, `/api/v1/tasks/${task}/best`)).json['metric_value']).toBe(
        best,
      );
    }
  });

  it('end a submission as rejected or error with their notes', async () => {
    const judge = await validator();
    for (const status of ['rejected', 'error']) {
      const submission = String((await claimAndSubmit()).json['id']);
      const job = (await judge.call(coordinator.url, 'POST', '/api/v1/validator/jobs/claim')).json[
        'job_id'
      ];
      await result(judge, job, { submission_id: submission, status, notes: 'because' });
      expect((await get(coordinator.url, `/api/v1/submissions/${submission}`)).json['status']).toBe(
        status,
      );
      const { list } = await get(
        coordinator.url,
        `/api/v1/verifications?submission_id=${submission}`,
      );
      expect(list).toMatchObject([{ notes: 'because' }]);
    }
    expect(coordinator.accepted()).toBe(0);
  });

  it('are not taken by the legacy route unless it is configured', async () => {
    const judge = await validator();
    const submission = String((await claimAndSubmit()).json['id']);
    const path = `/api/v1/submissions/${submission}/verify`;
    const body = { status: 'rejected', observed_metrics: {} };
    expect((await judge.call(coordinator.url, 'POST', path, body)).status).toBe(503);
    await coordinator.set({ legacyVerify: true });
    expect((await judge.call(coordinator.url, 'POST', path, body)).json).toMatchObject({
      status: 'rejected',
    });
  });
});

describe('peer evaluation', () => {
  it('ends at enough evaluations with their median', async () => {
    const peers = await coordinator.addTask({
      competition_mode: 'peer_evaluation',
      min_peer_evaluations: 2,
    });
    const submission = String((await claimAndSubmit({}, miner, peers)).json['id']);
    const path = `/api/v1/submissions/${submission}/peer-evaluate`;
    const evaluate = async (by: Signer, ppl: number): Promise<Reply> =>
      by.call(coordinator.url, 'POST', path, {
        status: 'accepted',
        observed_metrics: { heldout_ppl: ppl },
      });
    expect((await evaluate(miner, 8)).status).toBe(403);
    const peer = createSigner();
    expect((await evaluate(peer, 7)).status).toBe(200);
    expect((await evaluate(peer, 7)).status).toBe(409);
    await evaluate(createSigner(), 8);
    expect((await get(coordinator.url, `/api/v1/submissions/${submission}`)).json).toMatchObject({
      status: 'accepted',
      observed_metrics: { heldout_ppl: 7.5 },
    });
    const consensus = await get(
      coordinator.url,
      `/api/v1/submissions/${submission}/peer-consensus`,
    );
    expect(consensus.json).toMatchObject({ status: 'accepted', accepted_count: 2 });
    expect(coordinator.accepted()).toBe(1);
  });
});
