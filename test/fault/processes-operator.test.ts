/** Pause, unpause and reset, as an operator does them from the Temporal UI; a server that is away; a training with its checkpoint. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { loadSettings } from '../../adapters/settings/settings.js';
import { findTemporal } from '../../adapters/temporal-server/find-binary.js';
import { registerSearchAttributes } from '../../adapters/temporal-server/prepare-namespace.js';
import {
  startTemporalServer,
  type RunningServer,
} from '../../adapters/temporal-server/start-server.js';
import { Connection } from '@temporalio/client';
import type { JsonObject } from '../../core/json.js';
import { SEARCH_ATTRIBUTES } from '../../workflows/contract.js';
import { startGitServer, type GitServer } from '../fakes/git-server.js';
import { planOf } from '../support/fault-plan.js';
import type { FaultRun } from '../support/fault-site.js';
import {
  expectRun,
  kill,
  killWithShim,
  killHost,
  programCase,
  type ProgramSite,
  type Surroundings,
} from '../support/program-site.js';
import { until } from '../support/until.js';

let git: GitServer;
beforeAll(async () => {
  git = await startGitServer({ 'train.py': 'print(1)\n' });
});
afterAll(() => git.close());

const CHECKPOINT = {
  witness: { traits: ['checkpoint'] },
  env: { ADIT_COORDINATOR_URL: 'http://127.0.0.1:9' },
};

function operate(site: ProgramSite, run: FaultRun, id: string) {
  const { namespace } = site.temporal;
  const activity = { namespace, execution: { workflowId: run.id }, id, identity: 'test' };
  const { workflowService } = site.client;
  return {
    pause: () => workflowService.pauseActivity({ ...activity, reason: 'the test' }),
    unpause: () => workflowService.unpauseActivity(activity),
    reset: () => workflowService.resetActivity(activity),
  };
}

describe.concurrent('an operator', () => {
  programCase('pauses and unpauses a command', async (site, { seeded }) => {
    await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 45));
    const { pause, unpause } = operate(site, run, 'program');
    await pause();
    await until('the activity to be paused', async () => (await run.pending())?.state === 'PAUSED');
    expect(await site.witness.count('term')).toBe(1);
    expect(await site.witness.processes()).toEqual([]);
    await unpause();
    await expectRun(site, run, { status: 'succeeded', starts: 2, terms: 1 });
  });

  programCase('resets a command, which is adopted', async (site, { seeded }) => {
    await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 40));
    const before = await run.followed(1);
    await operate(site, run, 'program').reset();
    await until('another attempt', async () => {
      const found = await run.pending();
      return found !== undefined && found.lastStartedMs > before.lastStartedMs;
    });
    await expectRun(site, run, { status: 'succeeded', starts: 1 });
  });

  programCase(
    'resets a command that was adopted before',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 10));
      await worker.end('SIGKILL');
      await site.startWorker();
      const before = await run.followed(2);
      await operate(site, run, 'program').reset();
      await until('another attempt', async () => {
        const found = await run.pending();
        return found !== undefined && found.lastStartedMs > before.lastStartedMs;
      });
      await expectRun(site, run, { status: 'succeeded', starts: 1 });
    },
    { witness: { lines: 120 } },
  );

  programCase(
    'pauses a training to its checkpoint, and unpauses it',
    async (site, { seeded }) => {
      await site.startWorker();
      const run = await startTraining(site);
      await run.reached(seeded.between(5, 45), 1, 'trained');
      const { pause, unpause } = operate(site, run, 'trained');
      await pause();
      await until('the pause', async () => (await run.pending('trained'))?.state === 'PAUSED');
      expect(await site.witness.processes()).toEqual([]);
      await unpause();
      await expectTraining(site, run, { terms: 1 });
    },
    CHECKPOINT,
  );
});

describe.concurrent('a training with a checkpoint', () => {
  programCase(
    'goes on from it when everything was killed',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await startTraining(site);
      await run.reached(seeded.between(5, 45), 1, 'trained');
      const host = await killHost(site);
      await killWithShim(site);
      await worker.end('SIGKILL');
      expect(host.pid).toBeGreaterThan(0);
      await site.startWorker();
      await expectTraining(site, run, { terms: 0 });
    },
    CHECKPOINT,
  );
});

/** A training in a real workspace, whose command is the witness. */
function startTraining(site: ProgramSite): Promise<FaultRun> {
  const task: JsonObject = {
    id: 'a-task',
    slug: 'a-task',
    title: 'A task',
    repository: git.url,
    baseRef: 'production',
    benchmarkCommand: 'true',
    allowedPatchPaths: ['train.py'],
    maxPatchBytes: 1_000,
    metricName: 'loss',
    metricDirection: 'minimize',
    rankingMode: 'scalar',
    competitionMode: 'standard',
    timeBudgetSeconds: 60,
    taskState: 'live',
    isActive: true,
    record: { uri: `store:${'0'.repeat(64)}`, sha256: '0'.repeat(64), sizeBytes: 1 },
  };
  return site.startRun(
    planOf(
      `pipeline: training
summary: One training that is disturbed.
inputs:
  task: { type: Task }
steps:
  - { id: source, uses: workspace.clone, with: { task: "\${{ inputs.task }}" } }
  - id: trained
    uses: candidate.train
    with:
      task: "\${{ inputs.task }}"
      workspace: "\${{ steps.source.workspace }}"
      command: ${JSON.stringify(site.witness.command)}
    heartbeat: 2s
outputs:
  log: "\${{ steps.trained.log }}"
`,
      { inputs: { task } },
    ),
  );
}

/** Two starts, the second from where the checkpoint of the first stands. */
async function expectTraining(
  site: ProgramSite,
  run: FaultRun,
  expected: { readonly terms: number },
): Promise<void> {
  const { witness } = site;
  expect(await run.outcome()).toMatchObject({ status: 'succeeded' });
  await site.assertNothingLeft(witness);
  const counts = {
    starts: await witness.count('start'),
    overlaps: await witness.count('overlap'),
    terms: await witness.count('term'),
  };
  expect(counts).toEqual({ starts: 2, overlaps: 0, ...expected });
  const first = await run.output(1, 'trained');
  const second = await run.output(2, 'trained');
  expect(witness.output().startsWith(first)).toBe(true);
  const printed = first.split('\n').length - 1;
  // A line may have been printed whose checkpoint was not written any more.
  const from = second === witness.output(printed) ? printed : printed - 1;
  expect(from).toBeGreaterThan(0);
  expect(second).toBe(witness.output(from));
}

describe('a server that is away', () => {
  let server: RunningServer;
  const start = (folder: string, port?: number): Promise<RunningServer> =>
    findTemporal({
      env: process.env,
      cacheDir: loadSettings(process.env, folder).cacheDir,
      onProgress: () => {},
    }).then((binary) =>
      startTemporalServer({
        binary,
        dbFile: path.join(folder, 'temporal.db'),
        logFile: path.join(folder, 'temporal.log'),
        env: process.env,
        headless: true,
        ...(port === undefined ? {} : { preferredPorts: { server: port } }),
      }),
    );
  let folder: string;
  const ownServer = async (): Promise<Surroundings> => {
    folder = await mkdtemp(path.join(tmpdir(), 'adit-server-'));
    server = await start(folder);
    const connection = await Connection.connect({ address: server.address });
    await registerSearchAttributes(connection, server.namespace, [...SEARCH_ATTRIBUTES]);
    await connection.close();
    return {
      temporal: { address: server.address, namespace: server.namespace },
      async close() {
        await server.stop();
        await rm(folder, { recursive: true, force: true, maxRetries: 10 });
      },
    };
  };

  programCase(
    'for 30 s, while the program runs and ends',
    async (site, { seeded }) => {
      await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 30));
      const { port } = { port: server.ports.server };
      const away = Date.now();
      if (seeded.between(0, 1) === 1) kill(server.process.pid, 'SIGKILL');
      else await server.stop();
      await until('the end of the program', async () => (await site.witness.count('end')) === 1);
      await until('30 s to pass', () => Date.now() - away > 30_000);
      server = await start(folder, port);
      expect(server.ports.server).toBe(port);
      await expectRun(site, run, { status: 'succeeded', starts: 1 });
    },
    { surroundings: ownServer },
  );
});
