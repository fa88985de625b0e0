import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createProcesses } from '../../adapters/processes/processes.js';
import { identifyProcess } from '../../adapters/temporal-server/process-identity.js';
import { adit } from '../support/cli.js';
import { PACKAGE_ROOT, startProgram } from '../support/local-network.js';

let folder: string;
let stateDir: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-cli-'));
  stateDir = path.join(folder, 'state');
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

const COMMANDS = [
  'approve',
  'cancel',
  'check',
  'decide',
  'demo',
  'dev',
  'devnet',
  'doctor',
  'extend',
  'hold',
  'host',
  'kill',
  'list',
  'logs',
  'plan',
  'prune',
  'ps',
  'release',
  'retry',
  'run',
  'show',
  'steps',
  'watch',
  'worker',
];

async function pipelineFile(name: string, text: string): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, text);
  return file;
}

describe('every command', () => {
  test('is in the help of adit', async () => {
    const { stdout, exitCode } = await adit(['--help'], { stateDir });
    expect(exitCode).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
  });

  test.each(COMMANDS)('%s has help with an example', async (command) => {
    const { stdout, exitCode } = await adit([command, '--help'], { stateDir });
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/Example/);
    expect(stdout).toContain(`adit ${command}`);
  });

  test('that does not exist is a usage error with the nearest name', async () => {
    const { stderr, exitCode } = await adit(['shwo'], { stateDir });
    expect(exitCode).toBe(2);
    expect(stderr).toContain('show');
    expect(stderr).not.toMatch(/\bat .*:\d+:\d+/);
  });
});

describe('adit without its build', () => {
  test('says how to build it', async () => {
    const cli = path.join(folder, 'unbuilt', 'cli');
    await mkdir(cli, { recursive: true });
    await copyFile(path.join(PACKAGE_ROOT, 'cli', 'adit.js'), path.join(cli, 'adit.js'));
    await writeFile(path.join(folder, 'unbuilt', 'package.json'), '{"type":"module"}');
    const result = await execa(process.execPath, [path.join(cli, 'adit.js'), '--help'], {
      reject: false,
    });
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain('npm run build');
  });
});

describe('adit plan', () => {
  test('of the shipped round asks nobody, and leaves no trace', async () => {
    const own = path.join(folder, 'untouched');
    const inputs = [
      'task=some-task',
      'train=true',
      'summary=Better.',
      'recipes=[{ name: one, edits: [{ path: a.py, find: a, replace: b }] }]',
    ].flatMap((input) => ['--input', input]);
    const asked: string[] = [];
    const network = createServer((request, response) => {
      asked.push(String(request.url));
      response.end('{}');
    });
    await new Promise<void>((resolve) => network.listen(0, '127.0.0.1', resolve));
    const { port } = network.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    try {
      const { stdout, exitCode } = await adit(
        ['plan', 'pipelines/frontier-round.yaml', ...inputs],
        {
          stateDir: own,
          env: {
            HOME: own,
            ADIT_COORDINATOR_URL: url,
            ADIT_POOL_URL: url,
            ADIT_PUBLISH_URL: `https://127.0.0.1:${port}`,
            ADIT_HOTKEY_FILE: path.join(own, 'no-such-key'),
          },
        },
      );
      expect(exitCode).toBe(0);
      expect(stdout).toMatch(
        /^runs +submit +coordinator\.submit +queue adit .* never run +effect$/m,
      );
      expect(stdout).toContain(`submission/submit, submission/finally/cancel (coordinator ${url})`);
      expect(stdout).toContain('time: never run');
      expect(asked).toEqual([]);
      expect(existsSync(own)).toBe(false);
    } finally {
      network.close();
    }
  });

  test('masks known secrets in values and conditions, which are decided by them all the same', async () => {
    const tokenFile = path.join(folder, 'plan-token');
    await writeFile(tokenFile, 'tok-5up3r-s3cret\n');
    const file = await pipelineFile(
      'secret.yaml',
      `pipeline: secret
inputs: { token: { type: string } }
steps:
  - { id: use, uses: process.run, with: { command: 'curl -H \${{ inputs.token }}', outputs: { n: int } } }
  - { id: other, if: 'inputs.token == "nothing"', uses: process.run, with: { command: 'true' } }
  - { id: late, if: 'steps.use.outputs.n == size("tok-5up3r-s3cret")', uses: process.run, with: { command: '\${{ inputs.token }} \${{ steps.use.outputs.n }}' } }
  - { if: 'size(inputs.token) == 16', stop: { reason: 'no use of \${{ inputs.token }}' } }
  - { id: never, uses: process.run, with: { command: 'true' } }
`,
    );
    const words = ['plan', file, '--input', 'token=tok-5up3r-s3cret'];
    const options = { stateDir, env: { ADIT_PUBLISH_TOKEN_FILE: tokenFile } };
    const shown = await adit(words, options);
    const json = await adit([...words, '--json'], options);
    for (const { exitCode, stdout, stderr } of [shown, json]) {
      expect(exitCode).toBe(0);
      expect(stdout).toContain('[masked]');
      expect(stdout + stderr).not.toContain('tok-5up3r');
    }
    expect(JSON.parse(json.stdout)).toMatchObject({
      steps: [
        { path: 'use', with: { command: { value: 'curl -H [masked]' } } },
        { path: 'other', will: 'skipped' },
        { path: 'late', condition: expect.stringContaining('size("[masked]")') },
        {},
        { path: 'never', will: 'not_reached' },
      ],
    });
  });

  test('without what it needs is wrong usage', async () => {
    for (const args of [
      ['plan'],
      ['plan', '--retry', 'x', '--until', 'a'],
      ['plan', 'f', '--from', 'a'],
    ])
      expect((await adit(args, { stateDir })).exitCode).toBe(2);
    const unknown = await adit(['plan', '--retry', 'no-such-run', '--json'], { stateDir });
    expect(unknown.exitCode).toBe(1);
    expect(JSON.parse(unknown.stdout)).toMatchObject({ error: { code: 'RUN_NOT_FOUND' } });
  });
});

describe('adit run', () => {
  test('of a file that does not check shows every mistake and starts nothing', async () => {
    const file = await pipelineFile(
      'wrong.yaml',
      'pipeline: wrong\nsteps:\n  - uses: process.rnu\n    wiht: {}\n',
    );
    const result = await adit(['run', file, '--json'], { stateDir });
    expect(result.exitCode).toBe(2);
    expect(result.stdout).toContain('process.run');
    expect(await readdir(stateDir).catch(() => [])).not.toContain('runs');
  });

  test('against a server that does not answer is exit code 5', async () => {
    const file = await pipelineFile(
      'fine.yaml',
      'pipeline: fine\nsteps:\n  - uses: process.run\n    with: { command: "true" }\n',
    );
    const result = await adit(['run', file, '--address', '127.0.0.1:1', '--json'], { stateDir });
    expect(result.exitCode).toBe(5);
    expect(JSON.parse(result.stdout)).toMatchObject({
      error: { code: expect.any(String), hint: expect.any(String) },
    });
  });

  test('without any server says so, and starts none', async () => {
    const file = path.join(folder, 'fine.yaml');
    const result = await adit(['run', file], { stateDir });
    expect(result.exitCode).toBe(5);
    expect(result.stderr).toContain('adit dev');
  });

  describe('with a worker of its own', () => {
    const taskQueue = `cli-${process.pid}`;
    let worker: Awaited<ReturnType<typeof startProgram>>;
    let env: NodeJS.ProcessEnv;

    beforeAll(async () => {
      const { address } = inject('temporal');
      env = { TEMPORAL_ADDRESS: address, ADIT_TASK_QUEUE: taskQueue };
      worker = await startProgram('worker/main.js', [], {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        ADIT_STATE_DIR: stateDir,
        ...env,
      });
    });

    afterAll(async () => {
      await worker.end('SIGTERM');
      // It would end by itself a minute later.
      const processes = createProcesses({ stateDir, server: null, startHost: null });
      await processes.shutdownHost({ leavePrograms: false });
      processes.close();
    });

    test('runs a command and prints its typed outputs', async () => {
      const file = await pipelineFile(
        'outputs.yaml',
        [
          'pipeline: outputs',
          'inputs:',
          '  name: { type: string, summary: Whom to greet. }',
          'steps:',
          '  - id: hello',
          '    uses: process.run',
          '    with:',
          `      command: 'printf "{\\"greeting\\": \\"hello $WHO\\", \\"count\\": 3}" > "$ADIT_OUTPUTS_FILE"'`,
          '      env: { WHO: "${{ inputs.name }}" }',
          '      outputs: { greeting: string, count: int }',
          'outputs:',
          '  greeting: ${{ steps.hello.outputs.greeting }}',
          '  count: ${{ steps.hello.outputs.count }}',
        ].join('\n'),
      );
      const result = await adit(['run', file, '--input', 'name=world', '--json'], {
        stateDir,
        env,
      });
      expect(JSON.parse(result.stdout)).toMatchObject({
        status: 'succeeded',
        outputs: { greeting: 'hello world', count: 3 },
        steps: [{ path: 'hello', uses: 'process.run', status: 'succeeded', attempts: 1 }],
      });
      expect(result.exitCode).toBe(0);
    });

    test('ends with 1 for a failure, with code, message and step', async () => {
      const file = await pipelineFile(
        'fails.yaml',
        'pipeline: fails\nsteps:\n  - id: no\n    uses: process.run\n    with: { command: "echo broken; exit 3" }\n    retry: { attempts: 1 }\n',
      );
      const result = await adit(['run', file, '--json'], { stateDir, env });
      expect(result.exitCode).toBe(1);
      expect(JSON.parse(result.stdout)).toMatchObject({
        status: 'failed',
        error: { code: 'PROGRAM_FAILED', message: expect.stringContaining('3'), step: 'no' },
      });
    });

    test('ends with 3 for a stop, with its reason', async () => {
      const file = await pipelineFile(
        'stops.yaml',
        'pipeline: stops\nsteps:\n  - stop: { reason: enough }\n',
      );
      const result = await adit(['run', file, '--json'], { stateDir, env });
      expect(result.exitCode).toBe(3);
      expect(JSON.parse(result.stdout)).toMatchObject({
        status: 'stopped',
        error: { code: 'STOPPED', message: 'enough' },
      });
    });

    test('detached prints the ids; the run is listed, and cancelled its program is gone', async () => {
      const file = await pipelineFile(
        'long.yaml',
        'pipeline: long\nsteps:\n  - id: wait\n    uses: process.run\n    with: { command: "exec sleep 600" }\n',
      );
      const started = JSON.parse(
        (await adit(['run', file, '--detach', '--json'], { stateDir, env })).stdout,
      ) as { runId: string };
      const list = async (): Promise<string> =>
        (await adit(['list', '--json'], { stateDir, env })).stdout;
      await expect.poll(list).toContain(started.runId);
      // In a pid namespace of its own a program knows itself by another number.
      const pid = async (): Promise<number> => {
        const { stdout } = await adit(['ps', '--json'], { stateDir });
        const { programs } = JSON.parse(stdout) as { programs: { runId: string; pid: number }[] };
        return programs.find(({ runId }) => runId === started.runId)?.pid ?? 0;
      };
      await expect.poll(pid).toBeGreaterThan(0);
      const victim = await pid();
      const cancelled = await adit(['cancel', started.runId, '--json'], { stateDir, env });
      expect([0, 4]).toContain(cancelled.exitCode);
      const status = async (): Promise<unknown> =>
        (
          JSON.parse((await adit(['show', started.runId, '--json'], { stateDir, env })).stdout) as {
            status: string;
          }
        ).status;
      await expect.poll(status, { timeout: 30_000, interval: 500 }).toBe('cancelled');
      expect(identifyProcess(victim)).toBeNull();
    });

    test('of a file that calls another shows it, decides in it and retries it as one run', async () => {
      await pipelineFile(
        'part.yaml',
        [
          'pipeline: part',
          'inputs: { folder: { type: string } }',
          'defaults: { retry: { attempts: 1 } }',
          'steps:',
          '  - { id: first, uses: process.run, with: { command: "echo once" } }',
          '  - id: asks',
          '    uses: process.run',
          '    with: { command: test -e "$IN/decided", env: { IN: "${{ inputs.folder }}" } }',
          '    on_failure: ask',
          '  - id: breaks',
          '    uses: process.run',
          '    with: { command: test -e "$IN/mended", env: { IN: "${{ inputs.folder }}" } }',
          '  - { id: agreed, approve: { summary: "Go on?", expires: 1h } }',
          'outputs: { folder: "${{ inputs.folder }}" }',
        ].join('\n'),
      );
      const file = await pipelineFile(
        'calls.yaml',
        [
          'pipeline: calls',
          'inputs: { folder: { type: string } }',
          'steps:',
          '  - { id: gate, pipeline: ./part.yaml, with: { folder: "${{ inputs.folder }}" } }',
          'outputs: { folder: "${{ steps.gate.folder }}" }',
        ].join('\n'),
      );
      const json = async (...args: string[]): Promise<unknown> =>
        JSON.parse((await adit([...args, '--json'], { stateDir, env })).stdout);
      const { runId } = (await json('run', file, '--input', `folder=${folder}`, '--detach')) as {
        runId: string;
      };
      await expect
        .poll(() => json('decide', runId), { timeout: 60_000, interval: 500 })
        .toMatchObject({ parked: [{ runId, step: 'gate/asks' }] });
      expect(await json('decide')).toMatchObject({ parked: [{ runId, step: 'gate/asks' }] });
      await writeFile(path.join(folder, 'decided'), '');
      expect(await json('decide', runId, 'gate/asks', '--retry')).toMatchObject({
        repeated: false,
      });
      expect(await json('watch', runId)).toMatchObject({
        status: 'failed',
        error: { code: 'PROGRAM_FAILED', step: 'gate/breaks' },
        steps: [
          { path: 'gate', uses: 'pipeline', status: 'failed' },
          { path: 'gate/first', status: 'succeeded' },
          { path: 'gate/asks', status: 'succeeded' },
          { path: 'gate/breaks', status: 'failed' },
          { path: 'gate/agreed', status: 'pending' },
        ],
      });
      const { runs } = (await json('list')) as { runs: { runId: string; pipeline: string }[] };
      expect(runs.map(({ pipeline }) => pipeline)).not.toContain('part');
      expect((await adit(['logs', runId, 'first'], { stateDir, env })).stdout).toBe('once');
      await writeFile(path.join(folder, 'mended'), '');
      const again = (await json('retry', runId, '--detach')) as { runId: string };
      expect(again).toMatchObject({ reused: ['gate/first', 'gate/asks'] });
      await expect
        .poll(() => json('approve', again.runId), { timeout: 60_000, interval: 500 })
        .toMatchObject({ approvals: [{ step: 'gate/agreed' }] });
      expect(await json('approve', again.runId, 'gate/agreed', '--approve')).toMatchObject({
        approved: 1,
      });
      expect(await json('watch', again.runId)).toMatchObject({
        status: 'succeeded',
        outputs: { folder },
      });
    });

    test('of a run that waits because nobody polls its queue says so', async () => {
      const child = execa(
        process.execPath,
        [path.join(PACKAGE_ROOT, 'cli', 'adit.js'), 'run', path.join(folder, 'fine.yaml')],
        {
          reject: false,
          all: true,
          env: { ...env, ADIT_TASK_QUEUE: `nobody-${process.pid}`, ADIT_STATE_DIR: stateDir },
        },
      );
      let seen = '';
      child.all?.on('data', (chunk: Buffer) => (seen += chunk.toString()));
      await expect.poll(() => seen).toMatch(/no worker/i);
      child.kill('SIGINT');
      const result = await child;
      expect(result.exitCode).toBe(130);
      expect(result.all).toContain('adit watch');
    });
  });
});
