/** What `adit ps`, `kill` and `extend` say of programs whose process host is gone. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createProcesses } from '../../adapters/processes/processes.js';
import { createTestHost, type TestHost } from '../fakes/process-host.js';
import { adit, type CliResult } from '../support/cli.js';
import { isProcessAlive } from '../support/processes.js';
import { until } from '../support/until.js';

const RUN = 'programs-20261121-101500-k3fq';

let stateDir: string;
let host: TestHost;

beforeEach(async () => {
  stateDir = await mkdtemp(path.join(tmpdir(), 'adit-no-host-'));
  host = createTestHost(stateDir);
});

afterEach(async () => {
  await host.close();
  await rm(stateDir, { recursive: true, force: true, maxRetries: 10 });
});

const call = (...args: string[]): Promise<CliResult> => adit(args, { stateDir });

async function unhosted(): Promise<Record<string, unknown>[]> {
  const { stdout } = await call('ps', '--json');
  return (JSON.parse(stdout) as { unhosted: Record<string, unknown>[] }).unhosted;
}

test('a program whose host is gone is told, never denied', async () => {
  expect((await call('ps')).stdout).toBe(
    `No process host runs for ${stateDir}, and no program does.`,
  );
  const cwd = path.join(stateDir, 'work');
  await mkdir(cwd);
  const go = path.join(stateDir, 'go');
  const command = `touch ${stateDir}/started; while [ ! -e ${go} ]; do sleep 0.05; done`;
  const processes = createProcesses({ stateDir, server: null, startHost: host.startHost });
  const watching = new AbortController();
  const followed = processes
    .run(
      { program: { command }, cwd },
      {
        place: { runId: RUN, stepPath: 'each#0/trained', start: 1 },
        token: 1,
        limits: { stepMs: null, graceMs: 300, minFreeBytes: 0, outputBytes: 1024 * 1024 },
        signal: watching.signal,
      },
    )
    .catch(() => null);
  await until('the program runs', () => existsSync(path.join(stateDir, 'started')));
  expect(await unhosted()).toEqual([]);

  watching.abort();
  await followed;
  await host.lose();
  processes.close();
  const [program] = await unhosted();
  expect(program).toMatchObject({ runId: RUN, step: 'each#0/trained', start: 1, stateDir });
  expect(await isProcessAlive(Number(program?.['pid']))).toBe(true);
  const { stdout, exitCode } = await call('ps');
  expect(exitCode).toBe(0);
  expect(stdout).toContain(`no host  ${RUN}  each#0/trained  process ${String(program?.['pid'])}`);
  expect(stdout).toContain('Their process host does not answer; they go on.');
  for (const args of [
    ['kill', RUN],
    ['extend', RUN, 'trained', '2h'],
  ]) {
    const refused = await call(...args);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(`A program of the run "${RUN}" lives here`);
    expect(refused.stderr).toContain(`ADIT_STATE_DIR=${stateDir}`);
  }

  await writeFile(go, '');
  await until('it is over', async () => (await unhosted()).length === 0);
});
