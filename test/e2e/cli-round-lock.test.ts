/** One run at a time for a task and a hotkey: told by `adit run` and `adit retry` before anything is started. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createProcesses } from '../../adapters/processes/processes.js';
import { adit, type CliResult } from '../support/cli.js';
import { PACKAGE_ROOT, startProgram, type Program } from '../support/local-network.js';
import { until } from '../support/until.js';

let folder: string;
let stateDir: string;
let env: NodeJS.ProcessEnv;
let worker: Program;
let file: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-cli-lock-'));
  stateDir = path.join(folder, 'state');
  const vectors = path.join(
    PACKAGE_ROOT,
    'test/fixtures/coordinator/generated-keyfile-vectors.json',
  );
  const { plaintext } = JSON.parse(await readFile(vectors, 'utf8')) as { plaintext: string };
  const hotkey = path.join(folder, 'hotkey');
  await writeFile(hotkey, plaintext);
  env = {
    TEMPORAL_ADDRESS: inject('temporal').address,
    ADIT_TASK_QUEUE: `cli-lock-${process.pid}`,
    ADIT_HOTKEY_FILE: hotkey,
    ADIT_COORDINATOR_URL: 'http://127.0.0.1:1',
  };
  const { PATH, HOME } = process.env;
  worker = await startProgram('worker/main.js', [], {
    PATH,
    HOME,
    ADIT_STATE_DIR: stateDir,
    ...env,
  });
  file = path.join(folder, 'round.yaml');
  await writeFile(
    file,
    [
      'pipeline: locked',
      'inputs:',
      '  task: { type: string, summary: The task. }',
      'steps:',
      '  - id: wait',
      '    uses: process.run',
      `    with: { command: "while [ ! -e ${folder}/go ]; do sleep 0.05; done" }`,
      '  - { id: back, uses: coordinator.cancel_claim, with: {} }',
    ].join('\n'),
  );
});

afterAll(async () => {
  await worker.end('SIGTERM');
  // It would end by itself a minute later.
  const processes = createProcesses({ stateDir, server: null, startHost: null });
  await until('no program runs', async () => (await processes.list()).length === 0);
  await processes.shutdownHost({ leavePrograms: false });
  processes.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

const call = (args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<CliResult> =>
  adit(args, { stateDir, env: { ...env, ...more } });

async function start(task: string, more: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout } = await call(
    ['run', file, '--input', `task=${task}`, '--detach', '--json'],
    more,
  );
  return String((JSON.parse(stdout) as { runId?: unknown }).runId);
}

test('a second run is refused and told which one runs, until that has ended', async () => {
  const first = await start('tiny');
  const again = async (): Promise<CliResult> =>
    call(['run', file, '--input', 'task=tiny', '--detach', '--json']);
  // The run takes its lock with its first task.
  const stages = async (): Promise<string> => (await call(['show', first, '--json'])).stdout;
  await expect
    .poll(stages)
    .toMatch(/"path": "wait",\s+"uses": "process.run",\s+"status": "running"/);
  const refused = await again();
  expect(refused.exitCode).toBe(1);
  expect(JSON.parse(refused.stdout)).toMatchObject({
    error: {
      code: 'ROUND_RUNNING',
      message: expect.stringContaining(`The run ${first} for the task tiny`),
      hint: expect.stringContaining(`cancel ${first}`),
    },
  });
  expect(await readdir(path.join(stateDir, 'runs'))).toEqual([first]);

  expect(await start('other')).toMatch(/^locked-/);
  expect(await start('tiny', { ADIT_ALLOW_PARALLEL_ROUNDS: 'true' })).toMatch(/^locked-/);

  await writeFile(path.join(folder, 'go'), '');
  const ended = async (): Promise<unknown> =>
    (JSON.parse((await call(['show', first, '--json'])).stdout) as { status: unknown }).status;
  await expect.poll(ended).not.toBe('running');
  expect((await again()).exitCode).toBe(0);
});

test('a run that was reset and then terminated does not hold its round for ever', async () => {
  await rm(path.join(folder, 'go'), { force: true });
  const first = await start('stuck');
  const connection = await Connection.connect({ address: inject('temporal').address });
  const { workflow, options } = new Client({ connection });
  const handle = workflow.getHandle(first);
  const locked = async (): Promise<string | undefined> =>
    (await handle.fetchHistory()).events?.find(
      (event) => event.childWorkflowExecutionStartedEventAttributes,
    )?.childWorkflowExecutionStartedEventAttributes?.workflowExecution?.workflowId ?? undefined;
  await expect.poll(locked).toMatch(/^adit-round:/);
  const lockId = String(await locked());
  await expect
    .poll(async () => (await call(['show', first, '--json'])).stdout)
    .toMatch(/"path": "wait",\s+"uses": "process.run",\s+"status": "running"/);
  const { events } = await handle.fetchHistory();
  await connection.workflowService.resetWorkflowExecution({
    namespace: options.namespace,
    workflowExecution: { workflowId: first },
    reason: 'a test',
    requestId: first,
    workflowTaskFinishEventId:
      events?.findLast((event) => event.workflowTaskCompletedEventAttributes)?.eventId ?? null,
  });
  await workflow.getHandle(first).terminate('a test');
  expect((await workflow.getHandle(lockId).describe()).status.name).toBe('RUNNING');

  expect(await start('stuck')).toMatch(/^locked-/);
  await connection.close();
  await writeFile(path.join(folder, 'go'), '');
});
