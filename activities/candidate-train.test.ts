import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Artifact, Workspace } from '../compiler/values.js';
import { startGitServer, type GitServer } from '../test/fakes/git-server.js';
import { createStepRig, type StepRig } from '../test/fakes/step-context.js';
import { createTask } from '../test/fakes/task.js';
import type { Adapters } from './adapters.js';
import { candidateTrain } from './candidate-train.js';
import { workspaceClone } from './workspace-clone.js';

describe('candidate.train', () => {
  let server: GitServer;
  let rig: StepRig;
  let workspace: Workspace;

  beforeAll(async () => {
    server = await startGitServer({
      'pack/train.py': 'rate = 1\n',
      'pack/committed.json': '{"heldout_ppl": 1.5}\n',
    });
  });
  afterAll(() => server.close());
  beforeEach(async () => {
    rig = createStepRig();
    ({ workspace } = await workspaceClone.run(
      { task: createTask({ repository: server.url }) },
      rig.context('source'),
    ));
  });
  afterEach(() => rig.close());

  const file = (name: string): string => path.join(rig.stateDir, name);
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await sleep(10);
  };
  type Changes = Parameters<StepRig['context']>[1];

  const train = (
    command: string,
    input: Partial<Parameters<typeof candidateTrain.run>[0]> = {},
    changes: Changes = {},
  ) =>
    candidateTrain.run(
      { workspace, task: createTask(), command, ...input },
      rig.context('trained', changes),
    );

  it('stores the artifact, the log and the last metrics, and returns the workspace as it was', async () => {
    const result = await train(
      'echo phase=float step=1/2 loss=3.5 elapsed=1; echo \'{"val": 2.25}\' >> $ADIT_METRICS_FILE; echo ppl now 4.5; printf bytes > $ADIT_OUTPUT_DIR/model.zip',
      { artifact: 'model.zip', patterns: { ppl: 'ppl now' } },
    );
    expect(result.workspace).toEqual(workspace);
    expect(result.metrics).toEqual({
      step: 1,
      total: 2,
      loss: 3.5,
      elapsed: 1,
      val: 2.25,
      ppl: 4.5,
    });
    expect((await rig.adapters.store.read(result.artifact.file)).toString()).toBe('bytes');
    expect((await rig.adapters.store.read(result.log)).toString()).toContain('phase=float');
  });

  it('shows phase, step, loss and the time left while it runs', async () => {
    const go = file('go');
    const running = train(
      `echo phase=float step=10 total=40 loss=2.5 elapsed=5; while [ ! -e ${go} ]; do sleep 0.02; done; echo x > $ADIT_OUTPUT_DIR/artifact`,
    );
    await until(() => rig.statuses.some((status) => status['step'] === 10));
    writeFileSync(go, '');
    await running;
    expect(rig.statuses.find((status) => status['step'] === 10)).toMatchObject({
      phase: 'float',
      step: 10,
      total: 40,
      loss: 2.5,
      elapsed: 5,
      eta: 15,
    });
  });

  it('tells the deadline and keeps the checkpoint for the next start of equal inputs', async () => {
    const command =
      'echo $ADIT_DEADLINE > $ADIT_OUTPUT_DIR/artifact; echo step >> $ADIT_CHECKPOINT_DIR/state; wc -l < $ADIT_CHECKPOINT_DIR/state >> $ADIT_OUTPUT_DIR/artifact';
    const deadlineMs = Date.now() + 60_000;
    await train(command, {}, { deadlineMs });
    const second = await train(command, {}, { deadlineMs, start: 2 });
    const other = await train(command, { env: { SEED: '2' } }, { deadlineMs, start: 3 });
    const read = async (artifact: Artifact): Promise<string> =>
      (await rig.adapters.store.read(artifact.file)).toString();
    expect(await read(second.artifact)).toBe(`${Math.floor(deadlineMs / 1_000)}\n2\n`);
    expect(await read(other.artifact)).toBe(`${Math.floor(deadlineMs / 1_000)}\n1\n`);
  });

  it('takes the result of a training that ended well although the disk is nearly full now', async () => {
    const command = 'printf bytes > $ADIT_OUTPUT_DIR/artifact';
    const first = await train(command);
    const settings = { ...rig.adapters.settings, minFreeBytes: Number.MAX_SAFE_INTEGER };
    const adapters = Object.assign(Object.create(rig.adapters) as Adapters, { settings });
    const again = await train(command, {}, { adapters, attempt: 2, firstAttempt: false });
    expect(again.artifact).toEqual(first.artifact);
    await expect(train(command, {}, { adapters, start: 2 })).rejects.toMatchObject({
      code: 'DISK_LOW',
    });
  });

  it('fails with the status and the end of the output', async () => {
    await expect(train('echo CUDA error >&2; exit 4')).rejects.toMatchObject({
      code: 'PROGRAM_FAILED',
      message: 'The training command exited with status 4.',
      hint: expect.stringContaining('Its last output: CUDA error') as string,
    });
    await expect(train('kill -9 $$', {}, { start: 2 })).rejects.toMatchObject({
      code: 'PROGRAM_FAILED',
      message: 'The training command was ended by SIGKILL.',
    });
  });

  it('fails when the artifact is not there', async () => {
    await expect(train('true')).rejects.toMatchObject({
      code: 'OUTPUT_MISSING',
      message: "The program's output file artifact does not exist.",
    });
  });

  it('fails when the command changes a tracked file', async () => {
    await expect(
      train('echo x > $ADIT_OUTPUT_DIR/artifact; echo x >> pack/train.py'),
    ).rejects.toMatchObject({
      code: 'WORKSPACE_CHANGED',
      message: 'Tracked files were changed by the training command: pack/train.py.',
    });
  });

  it('is ended as a whole when it is cancelled', async () => {
    const controller = new AbortController();
    const reason = new Error('cancelled');
    const running = train(
      `sleep 600 & echo $! > ${file('child')}; touch ${file('started')}; wait`,
      {},
      { signal: controller.signal },
    );
    await until(() => existsSync(file('started')));
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    const child = readFileSync(file('child'), 'utf8').trim();
    expect(
      existsSync(`/proc/${child}`) && !/\) Z/.test(readFileSync(`/proc/${child}/stat`, 'utf8')),
    ).toBe(false);
  });

  it('refuses names of variables that Adit sets itself', () => {
    expect(
      candidateTrain.input.safeParse({
        workspace,
        task: createTask(),
        command: 'x',
        env: { ADIT_OUTPUT_DIR: '/' },
      }).success,
    ).toBe(false);
  });
});
