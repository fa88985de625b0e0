/** The built local network as a process: what it prints, what it keeps, and that nothing outlives it. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { cryptoWaitReady } from '@polkadot/util-crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../core/json.js';
import { asAdmin, createSigner } from '../../devnet/testing/network-client.js';
import { PACKAGE_ROOT, startProgram, type Program } from '../support/local-network.js';
import { isGroupAlive, isProcessAlive } from '../support/processes.js';

const run = promisify(execFile);
const { PATH, HOME } = process.env;

let home: string;
let running: Program[];

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'adit-devnet-'));
  running = [];
});
afterEach(async () => {
  for (const program of running) await program.end('SIGKILL');
  await rm(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

async function startDevnet(...flags: string[]): Promise<Program> {
  const args = ['--port', '0', '--home', home, '--json', ...flags];
  const devnet = await startProgram('devnet/main.js', args, { PATH, HOME });
  running.push(devnet);
  return devnet;
}

async function status({ ready }: Program): Promise<JsonObject> {
  const response = await fetch(`${String(ready['coordinator'])}/devnet/status`, {
    headers: { 'X-Admin-Token': String(ready['adminToken']) },
  });
  return (await response.json()) as JsonObject;
}

/** A submission to a task of its own, whose benchmark is that command. */
async function submitSlow({ ready }: Program, benchmark_command: string): Promise<void> {
  await cryptoWaitReady();
  const url = String(ready['coordinator']);
  const task = await asAdmin(url, String(ready['adminToken']), 'POST', '/api/v1/tasks', {
    slug: 'slow-task',
    title: 'A slow task',
    repository: ready['repository'],
    base_ref: 'production',
    benchmark_command,
    allowed_patch_paths: ['note.txt'],
    metric_name: 'ppl',
    metric_direction: 'minimize',
    time_budget_seconds: 600,
    competition_mode: 'standard',
  });
  const miner = createSigner();
  const claim = await miner.call(url, 'POST', `/api/v1/tasks/${String(task.json['id'])}/claim`, {
    claim_description: 'slow',
  });
  const submission = await miner.call(url, 'POST', '/api/v1/submissions', {
    claim_id: claim.json['id'],
    base_ref: 'production',
    patch: [
      'diff --git a/note.txt b/note.txt',
      'new file mode 100644',
      '--- /dev/null',
      '+++ b/note.txt',
      '@@ -0,0 +1 @@',
      '+a note',
      '',
    ].join('\n'),
    summary: 'slow',
    claimed_metrics: { ppl: 2 },
  });
  expect(submission.status, submission.text).toBe(200);
}

async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    () => true,
    () => false,
  );
}

describe('adit devnet', () => {
  it('prints one ready line with the documented members, and all that it names is there', async () => {
    const { ready } = await startDevnet();
    expect(ready).toMatchObject({
      coordinator: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      pool: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      artifacts: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
      repository: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/tiny-ternary-frontier\.git$/),
      tasks: ['tiny-ternary-frontier', 'tiny-ternary-frontier-centerless'],
      adminToken: expect.stringMatching(/^[0-9a-f]{48}$/),
      hotkeys: {
        miner: path.join(home, 'hotkeys', 'miner'),
        validator: path.join(home, 'hotkeys', 'validator'),
      },
      recipient: expect.stringMatching(/^5\w{47}$/),
      publishTokenFile: path.join(home, 'publish-token'),
      artifactsCaFile: path.join(home, 'artifacts-ca.pem'),
      validatorPid: expect.any(Number),
    });
    const files = [ready['publishTokenFile'], ready['artifactsCaFile'], ready['hotkeys']];
    for (const file of files.flatMap((each) =>
      Object.values(typeof each === 'object' ? (each ?? {}) : [each]),
    ))
      expect(existsSync(String(file))).toBe(true);
    const epochs = await fetch(`${String(ready['pool'])}/claims/epochs`);
    expect(await epochs.json()).toEqual({ epochs: [], default_epoch: null });
    const { stdout } = await run('git', ['ls-remote', String(ready['repository'])]);
    expect(stdout).toContain('refs/heads/production');
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGKILL'] as const)(
    'leaves no validator behind when %s ends it',
    async (signal) => {
      const devnet = await startDevnet();
      const pid = Number(devnet.ready['validatorPid']);
      expect(await isProcessAlive(pid)).toBe(true);
      await devnet.end(signal);
      await expect.poll(() => isProcessAlive(pid)).toBe(false);
      expect(await answers(`${String(devnet.ready['coordinator'])}/healthz`)).toBe(false);
      if (signal === 'SIGKILL') return;
      expect(devnet.child.exitCode).toBe(0);
      expect(existsSync(path.join(home, 'running.json'))).toBe(false);
    },
  );

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'leaves no replay behind when %s ends it in the midst of one',
    async (signal) => {
      const devnet = await startDevnet();
      const pidFile = path.join(home, 'benchmark.pid');
      await submitSlow(devnet, `echo $$ > ${pidFile}; sleep 600`);
      await expect.poll(() => existsSync(pidFile)).toBe(true);
      const benchmark = Number(await readFile(pidFile, 'utf8'));
      expect(await isGroupAlive(benchmark)).toBe(true);
      await devnet.end(signal);
      await expect.poll(() => isGroupAlive(benchmark)).toBe(false);
    },
  );

  it('leaves no validator behind that was stopped when it was killed, once it is started again', async () => {
    const devnet = await startDevnet();
    const pid = Number(devnet.ready['validatorPid']);
    process.kill(pid, 'SIGSTOP');
    await devnet.end('SIGKILL');
    expect(await isProcessAlive(pid)).toBe(true);
    const again = await startDevnet();
    await expect.poll(() => isProcessAlive(pid)).toBe(false);
    expect(await isProcessAlive(Number(again.ready['validatorPid']))).toBe(true);
  });

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'has the same addresses and keys when it is started again after %s',
    async (signal) => {
      const first = await startDevnet();
      await first.end(signal);
      const second = await startDevnet();
      const { validatorPid: _first, ...before } = first.ready;
      const { validatorPid: _second, ...after } = second.ready;
      expect(after).toEqual(before);
    },
  );

  it('has its clock moved by `advance`, also beyond a restart', async () => {
    const devnet = await startDevnet('--no-validator');
    expect(devnet.ready['validatorPid']).toBeNull();
    const script = path.join(PACKAGE_ROOT, 'dist', 'devnet', 'main.js');
    const advance = ['advance', '2701', '--home', home, '--json'];
    const { stdout } = await run(process.execPath, [script, ...advance]);
    const moved = JSON.parse(stdout) as { now: string; clockOffsetSeconds: number };
    expect(moved.clockOffsetSeconds).toBe(2_701);
    expect(Math.abs(Date.parse(moved.now) - Date.now() - 2_701_000)).toBeLessThan(60_000);
    expect(await status(devnet)).toMatchObject({ clockOffsetSeconds: 2_701 });
    await devnet.end('SIGTERM');
    await expect(run(process.execPath, [script, ...advance])).rejects.toMatchObject({ code: 1 });
    expect(await status(await startDevnet('--no-validator'))).toMatchObject({
      clockOffsetSeconds: 2_701,
    });
  });
});
