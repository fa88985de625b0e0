/** The commands' view of a run on a real server, where no worker runs: what they must still be able to say. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadSettings } from '../../adapters/settings/settings.js';
import type { ServerChoice } from '../../adapters/temporal-server/choose-server.js';
import { connectTo, plainOptions } from '../../adapters/temporal-server/connect.js';
import { findTemporal } from '../../adapters/temporal-server/find-binary.js';
import {
  startTemporalServer,
  type RunningServer,
} from '../../adapters/temporal-server/start-server.js';
import { followRun, type RunSnapshot } from '../../cli/follow-run.js';
import { listRuns } from '../../cli/list-runs.js';
import { requestCancel } from '../../cli/request-cancel.js';
import { readRunFromServer, toShowJson } from '../../cli/run-record.js';
import { createSession, type Session } from '../../cli/session.js';
import { showRun } from '../../cli/show-run.js';
import { startRun } from '../../cli/start-run.js';
import type { Plan } from '../../core/plan.js';

const plan: Plan = {
  irVersion: 1,
  pipeline: 'nothing-to-do',
  summary: 'A plan that stops at once.',
  sourceSha256: '0'.repeat(64),
  network: { coordinator: '', hotkey: '' },
  inputs: { task: 'some-task' },
  steps: [{ kind: 'stop', key: 'enough', reason: { t: 'value', value: 'Nothing to do.' } }],
  outputs: [],
};

let folder: string;
let server: RunningServer;
let session: Session;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-cli-run-'));
  const binary = await findTemporal({
    env: process.env,
    cacheDir: loadSettings(process.env, folder).cacheDir,
  });
  server = await startTemporalServer({
    binary,
    dbFile: path.join(folder, 'temporal.db'),
    logFile: path.join(folder, 'temporal.log'),
    env: process.env,
    headless: true,
  });
  const choice: ServerChoice = {
    address: server.address,
    namespace: 'default',
    source: 'flag',
    origin: 'from --address',
    connectionOptions: plainOptions(server.address),
  };
  process.env['ADIT_STATE_DIR'] = folder;
  session = {
    ...(await createSession(await connectTo(choice), choice)),
    settings: loadSettings(process.env, folder),
  };
});

afterAll(async () => {
  delete process.env['ADIT_STATE_DIR'];
  await session.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

describe('a run that no worker takes', () => {
  it('is listed with its names, and its progress says that no worker polls its queue', async () => {
    const remarks: string[] = [];
    const deadlineMs = Date.now() + 7_200_000;
    const { runId, evidence } = await startRun(session, plan, (text) => remarks.push(text), {
      deadlineMs,
    });
    expect(remarks).toEqual([]);
    expect(evidence).toBe(path.join(folder, 'runs', runId));

    const watcher = new AbortController();
    const stalled = new Promise<RunSnapshot>((resolve) => {
      const following = followRun({
        session,
        runId,
        roots: [folder],
        signal: watcher.signal,
        onSnapshot: async (snapshot) => {
          if (snapshot.stalled !== null) resolve(snapshot);
        },
      });
      following.catch(() => undefined);
    });
    expect((await stalled).stalled).toBe(
      'no worker polls the task queue "adit"; start one with `adit worker`',
    );
    watcher.abort();

    const { runs, remark } = await listRuns({ address: server.address }, 10);
    expect(remark).toBeNull();
    expect(runs).toEqual([
      {
        runId,
        roundId: runId,
        pipeline: 'nothing-to-do',
        status: 'running',
        stage: 'enough',
        startedAt: expect.stringMatching(/^\d{4}-/),
        endedAt: null,
        deadline: new Date(deadlineMs).toISOString(),
        parked: [],
        approvals: [],
      },
    ]);
    const shown = await readRunFromServer(session, runId, [folder]);
    expect(shown && toShowJson(shown)).toMatchObject({
      deadline: { at: new Date(deadlineMs).toISOString(), leftMs: expect.any(Number) },
    });
    const found: string[] = [];
    for await (const execution of session.client.workflow.list({
      query: `AditTask="some-task" AND AditPipeline="nothing-to-do"`,
    })) {
      found.push(execution.workflowId);
    }
    expect(found).toEqual([runId]);
  });

  it('is shown as failed when it was terminated on the server, with its evidence', async () => {
    const { runId, evidence } = await startRun(session, plan, () => {});
    await requestCancel(session, runId, 'not wanted');
    expect((await readRunFromServer(session, runId, [folder]))?.view.status).toBe('running');
    await session.client.workflow.getHandle(runId).terminate('by hand');
    const record = await showRun({ address: server.address }, runId);
    expect(toShowJson(record)).toMatchObject({
      runId,
      status: 'failed',
      evidence,
      error: { code: 'RUN_TERMINATED', message: expect.stringContaining('ended on the server') },
    });
  });

  it('is answered from the evidence folder when the server is away, and says so', async () => {
    const { runId } = await startRun(session, plan, () => {});
    const record = await showRun({ address: '127.0.0.1:1' }, runId);
    expect(record.view).toMatchObject({ runId, pipeline: 'nothing-to-do', status: 'running' });
    expect(record.remark).toContain(
      'The Temporal server at 127.0.0.1:1 (from --address) does not answer',
    );
    const { runs, remark } = await listRuns({ address: '127.0.0.1:1' }, 10);
    expect(runs.map((run) => run.runId)).toContain(runId);
    expect(remark).toContain('These are the runs of the evidence folders.');
  });

  it('that nobody knows is an error, also beside a server', async () => {
    await expect(showRun({ address: server.address }, 'unknown-run')).rejects.toThrow(
      `There is no run "unknown-run". The server at ${server.address} does not know it, and no evidence folder has it.`,
    );
  });
});
