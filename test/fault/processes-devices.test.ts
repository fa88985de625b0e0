/** Devices belong to programs: never to two, all or nothing, over restarts of worker and host. */
import { describe, expect, inject } from 'vitest';
import { faultCase } from '../support/fault-case.js';
import { programPlan } from '../support/fault-plan.js';
import { openSite, type FaultRun } from '../support/fault-site.js';
import { kill, killHost } from '../support/program-site.js';
import { until } from '../support/until.js';
import type { Seeded } from '../support/seeded.js';
import { createWitness } from '../support/witness.js';

/** The locks of devices are the machine's: no other test may use the same. */
function devicesOf(seeded: Seeded, count: number): string[] {
  const word = seeded.word();
  return Array.from({ length: count }, (_, index) => `GPU-${word}-${index}-${process.pid}`);
}

describe('device leases', () => {
  faultCase('two devices, four programs, worker and host killed', async ({ seeded }) => {
    const site = await openSite({
      temporal: inject('temporal'),
      env: { ADIT_GPUS: devicesOf(seeded, 2).join(',') },
    });
    try {
      const witness = createWitness({
        folder: site.folder,
        salt: seeded.word(),
        lines: 30,
        traits: ['device'],
      });
      const wants = [1, 1, 2, 1];
      let worker = await site.startWorker();
      const runs: FaultRun[] = [];
      for (const gpus of wants) {
        runs.push(await site.startRun(programPlan({ command: witness.command, gpus })));
      }
      await until('two programs', async () => (await witness.count('start')) >= 2);
      const waiting = await until('a program that says what it waits for', async () => {
        const found = await Promise.all(runs.map((run) => run.pending()));
        return found.find((each) => /"waiting":".*device/.test(each?.heartbeat ?? ''));
      });
      expect(waiting.heartbeat).toContain(waiting.activityId);
      await killHost(site);
      await until('three programs', async () => (await witness.count('start')) >= 3);
      await worker.end('SIGKILL');
      worker = await site.startWorker();
      for (const run of runs) {
        expect(await run.outcome()).toMatchObject({ status: 'succeeded' });
      }
      const entries = await witness.entries();
      expect(entries.filter(({ event }) => event === 'overlap')).toEqual([]);
      const given = entries.filter(({ event }) => event === 'start').map(({ note }) => note);
      expect(given.map((ids) => ids.split(',').length).toSorted((a, b) => a - b)).toEqual([
        1, 1, 1, 2,
      ]);
      await site.assertNothingLeft(witness);
    } finally {
      await site.close();
    }
  });

  faultCase('a device goes back when its program is killed', async ({ seeded }) => {
    const device = devicesOf(seeded, 1).join();
    const site = await openSite({
      temporal: inject('temporal'),
      env: { ADIT_GPUS: device },
    });
    try {
      const witness = createWitness({
        folder: site.folder,
        salt: seeded.word(),
        traits: ['device'],
      });
      await site.startWorker();
      const run = await site.startRun(
        programPlan({ command: witness.command, gpus: 1, attempts: 2 }),
      );
      await run.reached(seeded.between(1, 40));
      expect((await site.hostInfo())?.devices).toMatchObject([{ id: device, state: 'leased' }]);
      kill((await witness.program()) ?? 0, 'SIGKILL');
      expect(await run.outcome()).toMatchObject({ status: 'succeeded' });
      const starts = (await witness.entries()).filter(({ event }) => event === 'start');
      expect(starts.map(({ note }) => note)).toEqual([device, device]);
      expect((await site.hostInfo())?.devices).toMatchObject([{ id: device, state: 'free' }]);
      await site.assertNothingLeft(witness);
    } finally {
      await site.close();
    }
  });
});
