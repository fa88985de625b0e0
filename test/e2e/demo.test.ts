import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { adit, environment } from '../support/cli.js';
import { PACKAGE_ROOT } from '../support/local-network.js';

interface Shown {
  readonly runId: string;
  readonly roundId: string;
  readonly pipeline: string;
  readonly status: string;
  readonly outputs: Record<string, unknown>;
  readonly steps: ReadonlyArray<{ path: string; uses: string; status: string; attempts: number }>;
  readonly evidence: string;
  readonly bundle: string;
}

interface Demo extends Shown {
  readonly temporal: string;
  readonly ui: string;
  readonly coordinator: string;
  readonly proof: {
    verified: boolean;
    result: string;
    profile: string;
    rootSource: string;
    file: string;
  };
}

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'adit-e2e-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

describe('adit demo', () => {
  let demo: Demo;
  const stateOfDemo = (): string => path.join(folder, 'one', 'demo');

  test('runs a whole round to a verified proof', async () => {
    const result = await adit(['demo', '--json'], { stateDir: path.join(folder, 'one') });
    expect(result.stderr).not.toMatch(/error/i);
    expect(result.exitCode).toBe(0);
    demo = JSON.parse(result.stdout) as Demo;
    expect(demo).toMatchObject({
      pipeline: 'frontier-round',
      status: 'succeeded',
      roundId: demo.runId,
      proof: { verified: true, result: 'verified' },
    });
    expect(demo.proof.rootSource).toContain('not compared with the chain');
    expect(demo.outputs['gain']).toBeGreaterThan(0.5);
    expect(demo.steps.find(({ path: at }) => at === 'candidates#1/trained')).toMatchObject({
      uses: 'candidate.train',
      status: 'succeeded',
      attempts: 1,
    });
  });

  test('leaves evidence that `show` and `list` answer from without a server', async () => {
    const shown = await adit(['show', demo.runId, '--json'], { stateDir: stateOfDemo() });
    expect(shown.exitCode).toBe(0);
    const { temporal: _temporal, ui: _ui, coordinator: _coordinator, proof: _proof, ...run } = demo;
    const { effects, programs, ...record } = JSON.parse(shown.stdout) as Record<string, unknown>;
    expect(record).toEqual(run);
    expect(programs).toEqual([]);
    expect(effects).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ what: 'claim', alarms: [], settled: expect.anything() }),
        expect.objectContaining({ what: 'submission', alarms: [], settled: expect.anything() }),
      ]),
    );
    const listed = await adit(['list', '--json'], { stateDir: stateOfDemo() });
    expect(listed.stdout).toContain(demo.runId);
  });

  test('leaves a bundle that is authentic by the root in its result, elsewhere and offline', async () => {
    const file = path.join(folder, 'round.tar');
    const written = await adit(['bundle', demo.runId, '--out', file, '--json'], {
      stateDir: stateOfDemo(),
    });
    expect(JSON.parse(written.stdout)).toMatchObject({ root: demo.bundle, absent: [] });
    const elsewhere = { stateDir: path.join(folder, 'elsewhere') };
    const verified = await adit(['verify', file, '--root', demo.bundle, '--json'], elsewhere);
    expect(verified.exitCode).toBe(0);
    const { checks, ...found } = JSON.parse(verified.stdout) as {
      checks: { check: string; result: string }[];
    };
    expect(found).toMatchObject({ verdict: 'authentic', runId: demo.runId, problems: [] });
    expect(checks.filter(({ result }) => result !== 'passed')).toEqual([]);
    expect(new Set(checks.map(({ check }) => check))).toEqual(
      new Set(['run', 'measurement', 'patch', 'gate', 'submission', 'acceptance', 'proof']),
    );
    const token = await readFile(path.join(stateOfDemo(), 'devnet', 'publish-token'), 'utf8');
    expect((await readFile(file)).includes(token.trim())).toBe(false);
    expect((await adit(['verify', file, '--root', '0'.repeat(64)], elsewhere)).exitCode).toBe(1);
    // A file that is there is never replaced.
    const again = await adit(['bundle', demo.runId, '--out', file], { stateDir: stateOfDemo() });
    expect(again.stderr).toContain('is there already');
  });

  test('leaves nothing running', async () => {
    const left = await adit(['demo', '--stop', '--json'], { stateDir: path.join(folder, 'one') });
    expect(JSON.parse(left.stdout)).toEqual({ stopped: false });
    const listed = await adit(['ps', '--json'], { stateDir: path.join(folder, 'one') });
    expect(JSON.parse(listed.stdout)).toEqual({ hosts: [], programs: [], unhosted: [] });
  });

  test('interrupted, ends what it started and says how to go on; resumed, it goes on', async () => {
    const stateDir = path.join(folder, 'two');
    const child = spawn(process.execPath, [path.join(PACKAGE_ROOT, 'cli', 'adit.js'), 'demo'], {
      env: environment({ stateDir }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    await expect.poll(() => output, { timeout: 100_000 }).toContain('✓ baseline');
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(output).toContain('adit demo --resume');

    const resumed = await adit(['demo', '--resume', '--json'], { stateDir });
    expect(resumed.exitCode).toBe(0);
    const run = JSON.parse(resumed.stdout) as Demo;
    expect(output).toContain(run.runId);
    expect(run.proof.verified).toBe(true);
    // A program that was under way begins its next start, as after a pause; nothing else does.
    const again = run.steps.filter(({ attempts }) => attempts > 1);
    expect(again.filter(({ attempts }) => attempts > 2)).toEqual([]);
    for (const { uses } of again) {
      expect(['workspace.setup', 'candidate.train', 'task.benchmark']).toContain(uses);
    }
  });

  test('kept, leaves server, network and worker running for other commands until it is stopped', async () => {
    const stateDir = path.join(folder, 'three');
    const kept = await adit(['demo', '--keep', '--task', 'tiny-ternary-frontier-centerless'], {
      stateDir,
    });
    expect(kept.exitCode).toBe(0);
    expect(kept.stdout).toContain('The reward proof is verified.');
    const address = /127\.0\.0\.1:\d+/.exec(kept.stdout)?.[0];
    expect(address).toBeDefined();
    const stopped = await adit(['demo', '--stop', '--json'], { stateDir });
    expect(JSON.parse(stopped.stdout)).toEqual({ stopped: true });
  });

  test('uses the server that --address names, and leaves it running', async () => {
    const { address } = inject('temporal');
    const stateDir = path.join(folder, 'four');
    const result = await adit(['demo', '--json', '--address', address], { stateDir });
    expect(result.exitCode).toBe(0);
    const run = JSON.parse(result.stdout) as Demo;
    expect(run).toMatchObject({ temporal: address, ui: null, proof: { verified: true } });
    const shown = await adit(['show', run.runId, '--json', '--address', address], { stateDir });
    expect(JSON.parse(shown.stdout)).toMatchObject({ runId: run.runId, status: 'succeeded' });
  });

  test('does not move to another server when --address does not answer', async () => {
    const result = await adit(['demo', '--json', '--address', '127.0.0.1:1'], {
      stateDir: path.join(folder, 'five'),
    });
    expect(result.exitCode).toBe(5);
    expect(result.stdout).toContain('127.0.0.1:1');
  });
});
