/** `adit dev` is ended and started again while a program of a run goes on. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { identifyProcess } from '../../adapters/temporal-server/process-identity.js';
import { adit, environment } from '../support/cli.js';
import { PACKAGE_ROOT } from '../support/local-network.js';

let folder: string;
let stateDir: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-cli-dev-'));
  stateDir = path.join(folder, 'state');
});

afterAll(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }));

interface Ready {
  readonly processes: { readonly worker: number; readonly host: number };
}

async function startDev(): Promise<{ ready: Ready; end: () => Promise<string> }> {
  const child = execa(
    process.execPath,
    [path.join(PACKAGE_ROOT, 'cli', 'adit.js'), 'dev', '--json'],
    {
      extendEnv: false,
      env: environment({ stateDir }),
      reject: false,
    },
  );
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await expect.poll(() => text, { timeout: 120_000 }).toContain('\n');
  return {
    ready: JSON.parse(text) as Ready,
    async end() {
      child.kill('SIGINT');
      return (await child).stderr;
    },
  };
}

async function callJson(...args: string[]): Promise<Record<string, unknown>> {
  return JSON.parse((await adit([...args, '--json'], { stateDir })).stdout) as Record<
    string,
    unknown
  >;
}

test('leaves its programs running, ends their host, and finds them again', async () => {
  const file = path.join(folder, 'long.yaml');
  const gate = path.join(folder, 'gate');
  const command = `echo began; while [ ! -e ${gate} ]; do sleep 0.05; done; echo ended`;
  await writeFile(
    file,
    `pipeline: long\nsteps:\n  - id: wait\n    uses: process.run\n    with: { command: "${command}" }\n`,
  );
  const first = await startDev();
  const { runId } = await callJson('run', file, '--detach');
  const output = async (): Promise<string> =>
    (await adit(['logs', String(runId), 'wait'], { stateDir })).stdout;
  await expect.poll(output).toBe('began');
  const { programs } = (await callJson('ps')) as { programs: { pid: number }[] };
  const told = await first.end();
  expect(told).toContain(
    `a program goes on without the host, and the next \`adit dev\` finds it again: ${String(runId)} wait`,
  );
  expect(identifyProcess(first.ready.processes.host)).toBeNull();
  expect(identifyProcess(programs[0]?.pid ?? 0)).not.toBeNull();
  expect(await output()).toBe('began');

  const second = await startDev();
  expect(second.ready.processes.host).not.toBe(first.ready.processes.host);
  await writeFile(gate, '');
  const status = async (): Promise<unknown> => (await callJson('show', String(runId)))['status'];
  await expect.poll(status).toBe('succeeded');
  expect(await output()).toBe('began\nended');
  await second.end();
  expect(identifyProcess(second.ready.processes.host)).toBeNull();
});
