/** The built `adit` with a process host and a worker of its own, on the server of the tests. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { expect, inject } from 'vitest';
import { adit, environment, type CliResult } from './cli.js';
import { PACKAGE_ROOT, startProgram, type Program } from './local-network.js';

export interface CliWorld {
  readonly folder: string;
  readonly stateDir: string;
  /** What its commands find in their environment, the server among it. */
  readonly env: NodeJS.ProcessEnv;
  readonly host: Program;
  call(...args: string[]): Promise<CliResult>;
  /** What the command prints with `--json`. */
  callJson(...args: string[]): Promise<Record<string, unknown>>;
  /** A command whose output is looked at while it runs. */
  follow(...args: string[]): { readonly text: () => string; readonly ended: Promise<void> };
  /** Starts a run of steps that are shell commands; a step may have further options. */
  start(steps: readonly ShellStep[], ...options: string[]): Promise<string>;
  status(runId: string): Promise<unknown>;
  programs(runId: string): Promise<Record<string, unknown>[]>;
  /** What a program waits for, so that a test says when it goes on. */
  gate(): { readonly waits: string; readonly open: () => Promise<void> };
  end(): Promise<void>;
}

export interface ShellStep {
  readonly id: string;
  readonly command: string;
  /** Lines of YAML. */
  readonly more?: string;
}

/** A known secret is `tok-5up3r-s3cret`; notices of runs are appended to `notices` in the folder. */
export async function openCliWorld(name: string): Promise<CliWorld> {
  const folder = await mkdtemp(path.join(tmpdir(), `adit-${name}-`));
  const stateDir = path.join(folder, 'state');
  const { address } = inject('temporal');
  const tokenFile = path.join(folder, 'token');
  await writeFile(tokenFile, 'tok-5up3r-s3cret\n');
  const env = {
    TEMPORAL_ADDRESS: address,
    ADIT_TASK_QUEUE: `${name}-${process.pid}`,
    ADIT_PUBLISH_TOKEN_FILE: tokenFile,
    ADIT_NOTIFY_COMMAND: JSON.stringify(['sh', '-c', `cat >> '${folder}/notices'`]),
  };
  const { PATH, HOME } = process.env;
  const host = await startProgram('host/main.js', ['--state-dir', stateDir, '--gpus', 'none'], {
    PATH,
    HOME,
  });
  const worker = await startProgram('worker/main.js', [], {
    PATH,
    HOME,
    ADIT_STATE_DIR: stateDir,
    ...env,
  });

  const call = (...args: string[]): Promise<CliResult> => adit(args, { stateDir, env });
  const callJson = async (...args: string[]): Promise<Record<string, unknown>> =>
    JSON.parse((await call(...args, '--json')).stdout) as Record<string, unknown>;
  return {
    folder,
    stateDir,
    env,
    host,
    call,
    callJson,
    follow: (...args) => {
      const child = execa(process.execPath, [path.join(PACKAGE_ROOT, 'cli', 'adit.js'), ...args], {
        extendEnv: false,
        env: environment({ stateDir, env }),
      });
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
      return { text: () => text, ended: child.then(() => undefined) };
    },
    start: async (steps, ...options) => {
      const file = path.join(folder, 'pipeline.yaml');
      const text = steps.map(
        ({ id, command, more = '' }) =>
          `  - id: ${id}\n    uses: process.run\n    with: { command: ${JSON.stringify(command)} }\n${more}`,
      );
      await writeFile(file, `pipeline: programs\nsteps:\n${text.join('')}`);
      const started = await callJson('run', file, '--detach', ...options);
      expect(started).toMatchObject({ runId: expect.any(String) });
      return String(started['runId']);
    },
    status: async (runId) => (await callJson('show', runId))['status'],
    programs: async (runId) => {
      const { programs } = (await callJson('ps')) as { programs: Record<string, unknown>[] };
      return programs.filter((program) => program['runId'] === runId);
    },
    gate: () => {
      const file = path.join(folder, `gate-${randomBytes(6).toString('hex')}`);
      return {
        waits: `while [ ! -e ${file} ]; do sleep 0.05; done`,
        open: () => writeFile(file, ''),
      };
    },
    end: async () => {
      await worker.end('SIGTERM');
      await host.end('SIGTERM');
      await rm(folder, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}
