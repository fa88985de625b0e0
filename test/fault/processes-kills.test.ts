/** The program of a step belongs to the run: whoever around it is killed or stopped, it goes on, or a next start does. */
import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect } from 'vitest';
import { PACKAGE_ROOT } from '../support/local-network.js';
import { expectRun, kill, killHost, killWithShim, programCase } from '../support/program-site.js';
import { until } from '../support/until.js';
import { parentOf } from '../support/witness.js';

/** The same programs in another place, under another version; returns their `dist`. */
async function otherBuild(folder: string): Promise<string> {
  const root = path.join(folder, 'other');
  await cp(path.join(PACKAGE_ROOT, 'dist'), path.join(root, 'dist'), { recursive: true });
  const about = await readFile(path.join(PACKAGE_ROOT, 'package.json'), 'utf8');
  await writeFile(path.join(root, 'package.json'), about.replace('"version": "', '"version": "9.'));
  await symlink(path.join(PACKAGE_ROOT, 'node_modules'), path.join(root, 'node_modules'));
  return path.join(root, 'dist');
}

describe.concurrent('a program whose surroundings are killed', () => {
  programCase('undisturbed: one start', async (site) => {
    await site.startWorker();
    const run = await site.start();
    await expectRun(site, run, { status: 'succeeded', starts: 1 });
  });

  programCase('worker killed by its pid', async (site, { seeded }) => {
    const worker = await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 45));
    await worker.end('SIGKILL');
    await site.startWorker();
    await expectRun(site, run, { status: 'succeeded', starts: 1, attempts: 2 });
  });

  programCase('worker killed by its group', async (site, { seeded }) => {
    const worker = await site.startWorker({ group: true });
    const run = await site.start();
    await run.reached(seeded.between(1, 45));
    kill(-worker.pid, 'SIGKILL');
    await site.startWorker({ group: true });
    await expectRun(site, run, { status: 'succeeded', starts: 1, attempts: 2 });
  });

  programCase(
    'worker killed twice in a row',
    async (site, { seeded }) => {
      const first = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      await first.end('SIGKILL');
      const second = await site.startWorker();
      await run.followed(2);
      await second.end('SIGKILL');
      await site.startWorker();
      await expectRun(site, run, { status: 'succeeded', starts: 1, attempts: 3 });
    },
    { witness: { lines: 250 } },
  );

  programCase(
    'worker killed while the program ends',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(15, 19));
      // Stopped, so that the end of the program certainly finds no worker that looks.
      kill(worker.pid, 'SIGSTOP');
      await until('the end of the program', async () => (await site.witness.count('end')) === 1);
      await worker.end('SIGKILL');
      const attempt = (await run.pending())?.attempt ?? 0;
      expect(attempt).toBeGreaterThan(0);
      await site.startWorker();
      await expectRun(site, run, { status: 'succeeded', starts: 1, attempts: attempt + 1 });
    },
    { witness: { lines: 20 } },
  );

  programCase(
    'worker and host away while the program ends',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(5, 20));
      await worker.end('SIGKILL');
      await killHost(site);
      await until('the end of the program', async () => (await site.witness.count('end')) === 1);
      expect(await site.hostInfo()).toBeNull();
      await site.startWorker();
      await expectRun(site, run, { status: 'succeeded', starts: 1, attempts: 2 });
    },
    { witness: { lines: 30 } },
  );

  programCase('host killed', async (site, { seeded }) => {
    await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 45));
    const before = await killHost(site);
    const after = await until('another host', async () => (await site.hostInfo()) ?? undefined);
    expect(after.pid).not.toBe(before.pid);
    expect(await site.witness.count('end')).toBe(0);
    await expectRun(site, run, { status: 'succeeded', starts: 1 });
  });

  programCase('shim killed', async (site, { seeded }) => {
    await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 45));
    const program = (await site.witness.program()) ?? 0;
    const shim = (await parentOf(program)) ?? 0;
    expect(await site.witness.processes()).toContain(shim);
    kill(shim, 'SIGKILL');
    await expectRun(site, run, { status: 'succeeded', starts: 2, terms: 'any' });
  });

  programCase('program killed, without a further attempt', async (site, { seeded }) => {
    await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 45));
    kill((await site.witness.program()) ?? 0, 'SIGKILL');
    await expectRun(site, run, { status: 'failed', code: 'PROGRAM_FAILED', starts: 1 });
  });

  programCase('program killed, with a further attempt', async (site, { seeded }) => {
    await site.startWorker();
    const run = await site.start({ attempts: 2 });
    await run.reached(seeded.between(1, 45));
    kill((await site.witness.program()) ?? 0, 'SIGKILL');
    await expectRun(site, run, { status: 'succeeded', starts: 2 });
  });

  programCase(
    'worker, host, shim and program killed at once',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 45));
      const host = await site.hostInfo();
      for (const pid of [worker.pid, host?.pid ?? 0]) kill(pid, 'SIGKILL');
      await killWithShim(site);
      await worker.end('SIGKILL');
      await until(
        'nothing of it to live',
        async () => (await site.witness.processes()).length === 0,
      );
      expect(await site.witness.count('end')).toBe(0);
      await site.startWorker();
      await expectRun(site, run, { status: 'succeeded', starts: 2 });
    },
    { witness: { lines: 150 } },
  );

  programCase(
    'worker stopped, and thawed beside another',
    async (site, { seeded }) => {
      const stale = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      kill(stale.pid, 'SIGSTOP');
      const fresh = await site.startWorker();
      await until('the other worker to follow', async () => {
        const found = await run.pending();
        const follows = found?.worker.includes(` ${fresh.pid}@`) === true;
        return follows && found !== undefined && found.heartbeatMs > found.lastStartedMs;
      });
      kill(stale.pid, 'SIGCONT');
      const line = (await run.output()).split('\n').length;
      // A stale worker has a few seconds to do harm.
      await run.reached(Math.min(line + 30, 499));
      expect(await site.witness.count('term')).toBe(0);
      await expectRun(site, run, { status: 'succeeded', starts: 1 });
    },
    // The stopped worker takes up tries for as long as the server lets it: the program must outlast that.
    { witness: { lines: 500 } },
  );

  programCase(
    'worker killed, with the heartbeat that is shipped: followed again in time',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start({ heartbeat: 'shipped' });
      await run.reached(seeded.between(1, 20));
      const killedAtMs = Date.now();
      await worker.end('SIGKILL');
      await site.startWorker();
      const bootedMs = Date.now() - killedAtMs;
      const { lastStartedMs } = await run.followed(2);
      // 20 s of silence and 1 s of back-off, or the boot of the worker, and 2 s.
      expect(lastStartedMs - killedAtMs).toBeLessThanOrEqual(Math.max(21_000, bootedMs) + 2_000);
      await expectRun(site, run, { status: 'succeeded', starts: 1 });
    },
    // A figure, measured in the closing rounds: a busy machine must not fail a build by it.
    { witness: { lines: 350 }, skip: process.env['ADIT_FAULT_ROUNDS'] === undefined },
  );

  programCase('worker told to end before it knows its host', async (site) => {
    const worker = await site.startWorker();
    await worker.end('SIGTERM');
    expect(worker.child.exitCode).toBe(0);
  });

  programCase('worker deployed anew by SIGTERM', async (site, { seeded }) => {
    const old = await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 40));
    await old.end('SIGTERM');
    await site.startWorker();
    await expectRun(site, run, { status: 'succeeded', starts: 1, attempts: 2 });
  });

  programCase('another build: its host goes on under the new worker', async (site, { seeded }) => {
    const dist = await otherBuild(site.folder);
    const old = await site.startWorker({ dist });
    const run = await site.start();
    await run.reached(seeded.between(1, 40));
    const host = await site.hostInfo();
    await old.end(seeded.pick(['SIGTERM', 'SIGKILL']));
    await site.startWorker();
    expect((await site.hostInfo())?.pid).toBe(host?.pid);
    await expectRun(site, run, { status: 'succeeded', starts: 1, attempts: 2 });
  });
});
