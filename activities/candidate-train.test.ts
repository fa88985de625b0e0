import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
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

  const program = { timeoutMs: 60_000 };
  const within = (changes: object): Changes => ({
    call: { ...rig.context('trained').call, program, ...changes },
  });

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

  it('keeps the checkpoint for the next start of equal inputs', async () => {
    const command =
      'echo step >> $ADIT_CHECKPOINT_DIR/state; wc -l < $ADIT_CHECKPOINT_DIR/state >> $ADIT_OUTPUT_DIR/artifact';
    await train(command);
    const second = await train(command, {}, { start: 2 });
    const other = await train(command, { env: { SEED: '2' } }, { start: 3 });
    const read = async (artifact: Artifact): Promise<string> =>
      (await rig.adapters.store.read(artifact.file)).toString();
    expect(await read(second.artifact)).toBe('2\n');
    expect(await read(other.artifact)).toBe('1\n');
  });

  it('tells the command when it will be ended', async () => {
    const before = Math.floor(Date.now() / 1_000);
    const { artifact } = await train(
      'echo $ADIT_DEADLINE > $ADIT_OUTPUT_DIR/artifact',
      {},
      within({}),
    );
    const told = Number((await rig.adapters.store.read(artifact.file)).toString());
    expect(told).toBeGreaterThanOrEqual(before + 59);
    expect(told).toBeLessThanOrEqual(Math.ceil(Date.now() / 1_000) + 60);
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

  const trainsOn =
    'echo part > $ADIT_OUTPUT_DIR/artifact; i=0; while :; do i=$((i+1)); echo loss=$((9-i)); sleep 0.05; done';

  it('stops when its rule holds, and takes what was trained so far', async () => {
    const result = await train(trainsOn, { stop_when: 'metrics.loss < 5', patience: 2 });
    expect(result.stopped_by).toBe('stop_when');
    expect(result.metrics['loss']).toBeLessThan(5);
    expect((await rig.adapters.store.read(result.artifact.file)).toString()).toBe('part\n');
  });

  it("stops in time for what follows before the run's deadline", async () => {
    const result = await train(
      trainsOn,
      { reserve: '1h', grace: '100ms' },
      within({ runDeadlineMs: Date.now() + 3_600_000 + 4_000 }),
    );
    expect(result.stopped_by).toBe('deadline');
  });

  it('warns the command with the signal that it asked for', async () => {
    const result = await train(
      'trap "echo warned > $ADIT_OUTPUT_DIR/artifact; exit 0" USR1; while :; do sleep 0.02; done',
      { warn_signal: 'USR1', warn_before: '59s' },
      within({}),
    );
    expect(result.stopped_by).toBe('completed');
    expect((await rig.adapters.store.read(result.artifact.file)).toString()).toBe('warned\n');
  });

  it('says what stopped a training that left nothing', async () => {
    await expect(
      train('while :; do echo loss=1; sleep 0.02; done', { stop_when: 'metrics.loss < 2' }),
    ).rejects.toMatchObject({
      code: 'OUTPUT_MISSING',
      message:
        "The training was stopped by `stop_when` and left no artifact: The program's output file artifact does not exist.",
    });
  });

  it('does not begin when there is no time left', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    try {
      await expect(
        train(`touch ${file('ran')}`, {}, within({ runDeadlineMs: Date.now() + 60_000 })),
      ).rejects.toMatchObject({
        code: 'PROGRAM_TIMEOUT',
        message:
          "There is no time left to train: the run's deadline is in 1m 00s, and 30m of it are kept for what follows.",
      });
    } finally {
      vi.useRealTimers();
    }
    expect(existsSync(file('ran'))).toBe(false);
  });

  it('ends a training that hangs', async () => {
    await expect(train('echo step=1; sleep 600', { stalled_after: '200ms' })).rejects.toMatchObject(
      {
        code: 'PROGRAM_STALLED',
        message: 'The program wrote neither output nor metrics for 0.4 s, and was ended.',
      },
    );
  });

  it.each([
    ['metrics.loss <', 'candidate.train: stop_when: the expression ends too early'],
    ['loss < 2', 'candidate.train: stop_when: there is no `loss` here'],
    ['metrics.loss', 'candidate.train: stop_when: a condition is true or false; this gives number'],
  ])('refuses the rule %s', async (stop_when, message) => {
    await expect(train('true', { stop_when })).rejects.toMatchObject({
      code: 'STEP_INPUT_INVALID',
      message,
    });
  });

  it.each([
    [{ reserve: 'long' }, 'is no duration, such as `90s` or `1h30m`'],
    [{ patience: 0 }, 'Too small'],
    [{ warn_signal: 'KILL' }, 'Invalid option'],
  ])('refuses the input %j', (input, message) => {
    const parsed = candidateTrain.input.safeParse({
      workspace,
      task: createTask(),
      command: 'x',
      ...input,
    });
    expect(parsed.error?.issues[0]?.message).toContain(message);
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
