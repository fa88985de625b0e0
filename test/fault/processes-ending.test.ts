/** Cancel, terminate and the time limit, each while the worker or the process host is away. */
import { describe, expect } from 'vitest';
import { expectRun, kill, killHost, programCase } from '../support/program-site.js';
import { until } from '../support/until.js';

describe.concurrent('the end of a run', () => {
  programCase('cancelled', async (site, { seeded }) => {
    await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 30));
    await run.handle.cancel();
    await expectRun(site, run, { status: 'cancelled', starts: 1, terms: 1 });
  });

  programCase(
    'cancelled, and the program is deaf to TERM',
    async (site, { seeded }) => {
      await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 30));
      await run.handle.cancel();
      await expectRun(site, run, { status: 'cancelled', starts: 1 });
      expect(await site.witness.count('end')).toBe(0);
    },
    { witness: { traits: ['deaf'], lines: 600 } },
  );

  programCase(
    'cancelled while the worker is away',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      await worker.end('SIGKILL');
      await run.handle.cancel();
      expect(await site.witness.count('term')).toBe(0);
      await site.startWorker();
      await expectRun(site, run, { status: 'cancelled', starts: 1, terms: 1 });
    },
    { witness: { lines: 600 } },
  );

  programCase(
    'cancelled while the host is away',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      // So that nobody starts another host before the run is cancelled.
      kill(worker.pid, 'SIGSTOP');
      await killHost(site);
      await run.handle.cancel();
      kill(worker.pid, 'SIGCONT');
      await expectRun(site, run, { status: 'cancelled', starts: 1, terms: 1 });
    },
    { witness: { lines: 600 } },
  );

  programCase(
    'cancelled while nobody serves the machine: it says so, and ends as cancelled when it is abandoned',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      await worker.end('SIGKILL');
      await run.handle.cancel();
      // Workflows are served, the machine of the program is not: a worker with a state folder of its own.
      const elsewhere = await site.startWorker({
        env: { ADIT_STATE_DIR: `${site.folder}/elsewhere` },
      });
      await until('the step to say what it waits for', async () => {
        const step = (await run.view()).steps.find(({ path }) => path === 'program');
        return step?.note?.startsWith('cancelling, waits for host ') === true;
      });
      await run.handle.signal('abandon');
      expect(await run.outcome()).toMatchObject({ status: 'cancelled' });
      expect(await site.witness.count('term')).toBe(0);
      await elsewhere.end('SIGKILL');
      // The machine is back: it learns that the run is closed.
      await site.startWorker();
      await expectRun(site, run, { status: 'cancelled', starts: 1, terms: 1, endedLater: true });
    },
    { witness: { lines: 900 } },
  );

  programCase(
    'terminated',
    async (site, { seeded }) => {
      await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      await run.handle.terminate();
      await expectRun(site, run, { status: 'terminated', starts: 1, terms: 1 });
    },
    { witness: { lines: 1_200 } },
  );

  programCase(
    'terminated while the worker is away',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      await worker.end('SIGKILL');
      await run.handle.terminate();
      expect(await site.witness.count('term')).toBe(0);
      await site.startWorker();
      await expectRun(site, run, { status: 'terminated', starts: 1, terms: 1 });
    },
    { witness: { lines: 1_200 } },
  );

  programCase(
    'terminated while the host is away',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      kill(worker.pid, 'SIGSTOP');
      await killHost(site);
      await run.handle.terminate();
      kill(worker.pid, 'SIGCONT');
      await expectRun(site, run, { status: 'terminated', starts: 1, terms: 1 });
    },
    { witness: { lines: 1_200 } },
  );

  programCase(
    'limit',
    async (site) => {
      await site.startWorker();
      const run = await site.start({ timeout: '2s' });
      await expectRun(site, run, {
        status: 'failed',
        code: 'PROGRAM_TIMEOUT',
        starts: 1,
        terms: 1,
      });
    },
    { witness: { lines: 600 } },
  );

  programCase(
    'limit while the worker is away',
    async (site) => {
      const worker = await site.startWorker();
      const run = await site.start({ timeout: '3s' });
      await run.reached(1);
      await worker.end('SIGKILL');
      await until('the host to end it', async () => (await site.witness.count('term')) === 1);
      await site.startWorker();
      await expectRun(site, run, {
        status: 'failed',
        code: 'PROGRAM_TIMEOUT',
        starts: 1,
        terms: 1,
      });
    },
    { witness: { lines: 600 } },
  );

  programCase(
    'limit while the host is away',
    async (site) => {
      const worker = await site.startWorker();
      const run = await site.start({ timeout: '2s' });
      await run.reached(1);
      await worker.end('SIGKILL');
      await killHost(site);
      // 40 lines take four seconds: the limit has passed, and nobody kept it.
      await run.reached(40);
      expect(await site.witness.count('term')).toBe(0);
      await site.startWorker();
      await expectRun(site, run, {
        status: 'failed',
        code: 'PROGRAM_TIMEOUT',
        starts: 1,
        terms: 1,
      });
    },
    { witness: { lines: 600 } },
  );

  programCase(
    'limit over two starts',
    async (site) => {
      await site.startWorker();
      const run = await site.start({ timeout: '4s', attempts: 3 });
      await run.reached(20);
      kill((await site.witness.program()) ?? 0, 'SIGKILL');
      await run.reached(1, 2);
      await expectRun(site, run, {
        status: 'failed',
        code: 'PROGRAM_TIMEOUT',
        starts: 2,
        terms: 1,
      });
      // The second start had what the first had left.
      expect((await run.output(2)).split('\n').length).toBeLessThan(30);
    },
    { witness: { lines: 600 } },
  );
});
