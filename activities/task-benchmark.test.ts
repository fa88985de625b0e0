import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Artifact, Task, Workspace } from '../compiler/values.js';
import { startGitServer, type GitServer } from '../test/fakes/git-server.js';
import { createStepRig, type StepRig } from '../test/fakes/step-context.js';
import { createTask } from '../test/fakes/task.js';
import { taskBenchmark } from './task-benchmark.js';
import { workspaceClone } from './workspace-clone.js';
import { workspaceFork } from './workspace-fork.js';

describe('task.benchmark', () => {
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

  const at = (name: string): string => path.join(workspace.path, name);
  const file = (name: string): string => path.join(rig.stateDir, name);
  type Changes = Parameters<StepRig['context']>[1];

  let artifact: Artifact;
  beforeEach(async () => {
    artifact = { file: await rig.adapters.store.putBytes('weights') };
  });
  const measure = (
    benchmarkCommand: string,
    of: Partial<Task> = {},
    changes: Changes = {},
    from = workspace,
  ) =>
    taskBenchmark.run(
      { workspace: from, task: createTask({ benchmarkCommand, ...of }), artifact },
      rig.context('measured', changes),
    );
  const writes = (json: string): string => `cat > pack/last_run.json <<'END'\n${json}\nEND`;

  it('measures the artifact where the validator puts it, with a clean environment', async () => {
    writeFileSync(at('pack/last_run.json'), '{"heldout_ppl": 1}');
    const { measurement, candidate } = await measure(
      'test ! -e pack/last_run.json || exit 9\ncat $AUTORESEARCH_SUBMISSION_ARTIFACT_PATH; echo " $AUTORESEARCH_SUBMISSION_ARTIFACT_PATH $AUTORESEARCH_SUBMISSION_ARTIFACT_BYTES"\n' +
        writes(
          '{"metric_name": "heldout_ppl", "metric_value": 3.25, "dataset_handle": {"dataset": "x"}, "runtime": {"device": "cpu"}}',
        ),
    );
    expect(measurement).toMatchObject({
      metric: 'heldout_ppl',
      value: 3.25,
      direction: 'minimize',
      artifactSha256: artifact.file.sha256,
      tree: workspace.tree,
      fingerprint: { commit: workspace.commit, device: 'cpu' },
    });
    expect((await rig.adapters.store.read(measurement.log)).toString()).toBe(
      'weights .autoresearch-submission/artifact 7\n',
    );
    expect(candidate).toEqual({ workspace, artifact, measurement });
    expect(existsSync(at('.autoresearch-submission/artifact'))).toBe(false);
  });

  it('gives equal conditions an equal fingerprint, in another workspace too, and others another', async () => {
    const result = (dataset: string, seconds: number): string =>
      writes(
        `{"heldout_ppl": 3, "dataset_handle": {"dataset": "${dataset}"}, "runtime": {"device": "cpu", "candidate_seconds": ${seconds}}}`,
      );
    const { workspace: fork } = await workspaceFork.run({ workspace }, rig.context('fork'));
    const first = await measure(result('x', 1));
    const second = await measure(result('x', 1), {}, { start: 2 }, fork);
    const slower = await measure(result('x', 2), {}, { start: 3 });
    const other = await measure(result('y', 1), {}, { start: 4 });
    expect(second.measurement.fingerprint).toEqual(first.measurement.fingerprint);
    expect(slower.measurement.fingerprint.runtimeSha256).toBe(
      first.measurement.fingerprint.runtimeSha256,
    );
    expect(other.measurement.fingerprint.heldoutSha256).not.toBe(
      first.measurement.fingerprint.heldoutSha256,
    );
  });

  it('fails when it exits 0 and writes no result, also when an old one was there', async () => {
    writeFileSync(at('pack/last_run.json'), '{"heldout_ppl": 1}');
    await expect(measure('true')).rejects.toMatchObject({
      code: 'METRIC_MISSING',
      message: 'The benchmark exited with status 0 and wrote no result file pack/last_run.json.',
    });
  });

  it.each([
    ['NaN', 'NaN'],
    ['Infinity', 'Infinity'],
    ['null', 'null'],
    ['true', 'true'],
    ['"3"', 'a text'],
  ])('refuses the metric %s', async (value, found) => {
    await expect(measure(writes(`{"metrics": {"heldout_ppl": ${value}}}`))).rejects.toMatchObject({
      code: 'METRIC_NOT_FINITE',
      message: `The metric heldout_ppl in pack/last_run.json is ${found}, which is no finite number.`,
    });
  });

  it('refuses a result that does not hold the metric, or is no JSON', async () => {
    await expect(measure(writes('{"score": 1}'))).rejects.toMatchObject({
      code: 'METRIC_MISSING',
      message: 'pack/last_run.json does not hold the metric heldout_ppl.',
    });
    await expect(measure(writes('{"heldout_ppl": 1'), {}, { start: 2 })).rejects.toMatchObject({
      code: 'METRIC_MISSING',
      message: 'The result file pack/last_run.json is no JSON in UTF-8.',
    });
    const deep = `printf '{"heldout_ppl": 1, "runtime": %0100000d' 0 | tr 0 '[' > pack/last_run.json; printf '%0100000d}' 0 | tr 0 ']' >> pack/last_run.json`;
    await expect(measure(deep, {}, { start: 3 })).rejects.toMatchObject({
      code: 'METRIC_MISSING',
      message: 'The result file pack/last_run.json is nested too deeply.',
    });
  });

  it('tells a rejection from a failure', async () => {
    await expect(
      measure('echo "ValueError: validator_rejection=quantized_size (3 > 2)" >&2; exit 1'),
    ).rejects.toMatchObject({
      code: 'BENCHMARK_REJECTED',
      message: 'The benchmark rejected the artifact: quantized_size.',
    });
    await expect(
      measure(`${writes('{"heldout_ppl": 1}')}\nexit 1`, {}, { start: 2 }),
    ).rejects.toMatchObject({
      code: 'BENCHMARK_FAILED',
      message: 'The benchmark exited with status 1.',
    });
  });

  it('reads the last value of the console when the task has no result file', async () => {
    const task = createTask({
      benchmarkCommand: 'echo heldout_ppl=4; echo HELDOUT_PPL: 3.5e0',
      metricDirection: 'minimize',
    });
    const { resultPath: _, ...withoutResult } = task;
    const { measurement } = await taskBenchmark.run(
      { workspace, task: withoutResult, artifact },
      rig.context('measured'),
    );
    expect(measurement.value).toBe(3.5);
    expect(measurement.resultFile).toBeUndefined();
  });

  it('demands the secondary metric of a task that has one', async () => {
    const secondary = {
      secondaryMetricName: 'ratio',
      secondaryMetricDirection: 'maximize',
    } as const;
    const good = await measure(writes('{"heldout_ppl": 3, "metrics": {"ratio": 7}}'), secondary);
    expect(good.measurement.secondary).toEqual({ metric: 'ratio', value: 7 });
    await expect(
      measure(writes('{"heldout_ppl": 3}'), secondary, { start: 2 }),
    ).rejects.toMatchObject({
      code: 'METRIC_MISSING',
    });
  });

  it('does not read a result through a link that leads out', async () => {
    writeFileSync(file('outside.json'), '{"heldout_ppl": 1}');
    await expect(measure(`ln -s ${file('outside.json')} pack/last_run.json`)).rejects.toMatchObject(
      {
        code: 'WORKSPACE_CHANGED',
        message: expect.stringContaining('pack/last_run.json leads out of the workspace') as string,
      },
    );
  });

  it('does not write the artifact through a link that leads out', async () => {
    mkdirSync(file('outside'));
    symlinkSync(file('outside'), at('.autoresearch-submission'));
    await measure(writes('{"heldout_ppl": 3}'));
    expect(existsSync(file('outside/artifact'))).toBe(false);
  });

  it('refuses a committed stale result, and leaves the committed file as it was', async () => {
    const committed = { resultPath: 'pack/committed.json' };
    await expect(measure('true', committed)).rejects.toMatchObject({ code: 'METRIC_MISSING' });
    const { measurement } = await measure(
      `echo '{"heldout_ppl": 2}' > pack/committed.json`,
      committed,
      { start: 2 },
    );
    expect(measurement.value).toBe(2);
    expect(readFileSync(at('pack/committed.json'), 'utf8')).toBe('{"heldout_ppl": 1.5}\n');
  });

  it('does not take a committed result that was put back for the result of a lost attempt', async () => {
    const committed = { resultPath: 'pack/committed.json' };
    const command = `echo '{"heldout_ppl": 2}' > pack/committed.json`;
    await measure(command, committed);
    await expect(
      measure(command, committed, { attempt: 2, firstAttempt: false }),
    ).rejects.toMatchObject({
      code: 'PROGRAM_LOST',
    });
  });

  it('takes the result of an earlier attempt without measuring again', async () => {
    const command = `echo run >> ${file('count')}\n${writes('{"heldout_ppl": 3}')}`;
    const first = await measure(command);
    const second = await measure(command, {}, { attempt: 2, firstAttempt: false });
    expect(second.measurement.value).toBe(first.measurement.value);
    expect(readFileSync(file('count'), 'utf8')).toBe('run\n');
  });

  it('refuses a benchmark that changes tracked files, and an artifact that is gone', async () => {
    await expect(
      measure(`echo x >> pack/train.py\n${writes('{"heldout_ppl": 3}')}`),
    ).rejects.toMatchObject({
      code: 'WORKSPACE_CHANGED',
      message: 'Tracked files were changed by the benchmark: pack/train.py.',
    });
    artifact = { file: { ...artifact.file, sha256: 'f'.repeat(64) } };
    await expect(measure('true', {}, { start: 2 })).rejects.toMatchObject({
      code: 'FILE_MISSING',
    });
  });

  it('refuses a result path that leads out of the repository', async () => {
    await expect(measure('true', { resultPath: '../result.json' })).rejects.toMatchObject({
      code: 'REPOSITORY_REFUSED',
    });
  });
});
