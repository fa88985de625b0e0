/** What is on disk is not what it seems: another process has the pid, another boot, another pid namespace, a folder that is gone, a disk that is full. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect } from 'vitest';
import type { JsonObject } from '../../core/json.js';
import { identify } from '../../host/process-table.js';
import {
  expectRun,
  kill,
  killWithShim,
  killHost,
  programCase,
  type ProgramSite,
  type Surroundings,
} from '../support/program-site.js';
import type { FaultRun } from '../support/fault-site.js';
import { until } from '../support/until.js';

/** Root, and a kernel that lets it. */
function may(program: string, ...args: string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const mayUnshare = may('unshare', '--pid', '--fork', '--kill-child', '--mount-proc', 'true');
const mayMount = may('unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt');

/** A process of somebody else that would tell when it was signalled. */
async function startBystander(folder: string): Promise<{ pid: number; isUntouched(): boolean }> {
  const told = path.join(folder, 'bystander.told');
  const ready = path.join(folder, 'bystander.ready');
  const script = `trap 'touch ${told}' TERM INT HUP; touch ${ready}; while :; do sleep 0.1; done`;
  const child = spawn('/bin/sh', ['-c', script], { stdio: 'ignore', detached: true });
  await until('the bystander', () => existsSync(ready));
  return {
    pid: child.pid ?? 0,
    isUntouched: () => child.exitCode === null && child.signalCode === null && !existsSync(told),
  };
}

/** Kills everything around the program and the program, so that only its records are left. */
async function leaveRecordsOnly(site: ProgramSite, workerPid: number): Promise<void> {
  const host = await site.hostInfo();
  kill(workerPid, 'SIGKILL');
  kill(host?.pid ?? 0, 'SIGKILL');
  await killWithShim(site);
  await until('nobody to live', async () => {
    return (await site.witness.processes()).length === 0 && (await site.hostInfo()) === null;
  });
}

/** Changes the identities in the owner record of the first start. */
async function forgeOwner(run: FaultRun, change: JsonObject): Promise<void> {
  const file = path.join(run.files().root, 'owner.json');
  let replaced = 0;
  const forge = (_name: string, value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || !('startTicks' in value)) return value;
    replaced += 1;
    return { ...value, ...change };
  };
  const forged: unknown = JSON.parse(await readFile(file, 'utf8'), forge);
  expect(replaced).toBeGreaterThan(0);
  await writeFile(file, JSON.stringify(forged));
}

/** So long that what the program has printed finds no room a second time. */
const LONG = 'full'.repeat(1_000);

describe.concurrent('records that are not what they seem', () => {
  programCase('pid reused by a process of somebody else', async (site, { seeded }) => {
    const worker = await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 45));
    await leaveRecordsOnly(site, worker.pid);
    const bystander = await startBystander(site.folder);
    await forgeOwner(run, { pid: bystander.pid });
    await site.startWorker();
    await expectRun(site, run, { status: 'succeeded', starts: 2 });
    expect(bystander.isUntouched()).toBe(true);
    kill(bystander.pid, 'SIGKILL');
  });

  programCase('another boot id', async (site, { seeded }) => {
    const worker = await site.startWorker();
    const run = await site.start();
    await run.reached(seeded.between(1, 45));
    await leaveRecordsOnly(site, worker.pid);
    const bystander = await startBystander(site.folder);
    const identity = await identify(bystander.pid);
    await forgeOwner(run, { ...identity, bootId: '00000000-0000-4000-8000-000000000000' });
    await site.startWorker();
    await expectRun(site, run, { status: 'succeeded', starts: 2 });
    expect(bystander.isUntouched()).toBe(true);
    kill(bystander.pid, 'SIGKILL');
  });

  programCase(
    'worker and host in another pid namespace',
    async (site, { seeded }) => {
      const worker = await site.startWorker();
      const run = await site.start();
      await run.reached(seeded.between(1, 20));
      await worker.end('SIGKILL');
      await killHost(site);
      await site.startWorker({
        within: ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'],
      });
      // Its pid says nothing in there: only the lock of the program tells that it lives.
      await expectRun(site, run, { status: 'succeeded', starts: 1 });
    },
    { skip: !mayUnshare, witness: { traits: [] } },
  );

  programCase('run directory removed', async (site, { seeded }) => {
    await site.startWorker();
    const run = await site.start({ attempts: 2 });
    await run.reached(seeded.between(1, 30));
    await rm(path.resolve(run.files().root, '../../..'), { recursive: true });
    const outcome = await run.outcome();
    await site.assertNothingLeft(site.witness);
    expect(await site.witness.count('overlap')).toBe(0);
    // What it wrote and how it ended went with the directory: it is begun again, or fails with a code of ours.
    if (outcome.status === 'succeeded') {
      expect(await site.witness.count('start')).toBe(2);
    } else {
      expect(outcome).toMatchObject({
        status: 'failed',
        code: expect.not.stringMatching('INTERNAL') as string,
      });
    }
  });

  programCase(
    'disk full while the program runs',
    async (site, { seeded }) => {
      await site.startWorker();
      // It declares no outputs: the program itself could not write them.
      const run = await site.start({ outputs: false });
      // What one line takes may be freed meanwhile.
      await run.reached(seeded.between(3, 10));
      await fillDisk(site.stateDir);
      const outcome = await run.outcome();
      expect(outcome).toMatchObject({ status: 'failed', code: 'DISK_FULL' });
      expect(await site.witness.count('end')).toBe(1);
      const exit = await readFile(path.join(run.files().root, 'exit.json'), 'utf8');
      expect(JSON.parse(exit)).toMatchObject({ code: 0 });
      await site.assertNothingLeft(site.witness);
    },
    { skip: !mayMount, surroundings: smallDisk, witness: { traits: [], lines: 30, salt: LONG } },
  );

  programCase(
    'disk full, and the host killed',
    async (site, { seeded }) => {
      await site.startWorker();
      // It declares no outputs: the program itself could not write them.
      const run = await site.start({ outputs: false });
      await run.reached(seeded.between(1, 10));
      await fillDisk(site.stateDir);
      await killHost(site);
      await until('the end of the program', async () => (await site.witness.count('end')) === 1);
      await rm(path.join(site.stateDir, 'filler'));
      const outcome = await run.outcome();
      expect(await site.witness.count('start')).toBe(1);
      const exit = await readFile(path.join(run.files().root, 'exit.json'), 'utf8');
      expect(JSON.parse(exit)).toMatchObject({ code: 0 });
      // The result was reached, and is there when space is.
      expect(outcome).toMatchObject({ status: 'succeeded' });
      await site.assertNothingLeft(site.witness);
    },
    { skip: !mayMount, surroundings: smallDisk, witness: { traits: [], lines: 30 } },
  );

  programCase(
    'less space than a start needs',
    async (site) => {
      await site.startWorker();
      const run = await site.start();
      await expectRun(site, run, { status: 'failed', code: 'DISK_LOW', starts: 0 });
    },
    { skip: !mayMount, surroundings: smallDisk, env: { ADIT_MIN_FREE_BYTES: '100000000' } },
  );
});

/** A disk of 16 MB for the state folder. */
async function smallDisk(): Promise<Surroundings> {
  const stateParent = await mkdtemp(path.join(tmpdir(), 'adit-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', stateParent]);
  return {
    stateParent,
    async close() {
      // A host that was killed may hold a file of it for a moment.
      await until('the disk to be released', () => may('umount', stateParent));
      await rm(stateParent, { recursive: true });
    },
  };
}

async function fillDisk(stateDir: string): Promise<void> {
  const file = path.join(stateDir, 'filler');
  for (const size of [1_000_000, 4_096]) {
    const piece = Buffer.alloc(size, 1);
    let room = true;
    while (room) room = await appendFile(file, piece).then(() => true, isNotFull);
  }
  await expect(writeFile(path.join(stateDir, 'one-more'), 'x')).rejects.toThrow('ENOSPC');
}

function isNotFull(error: unknown): false {
  if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  return false;
}
