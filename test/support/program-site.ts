/** A machine with one witness program: what the fault tests of processes share. */
import path from 'node:path';
import { expect, inject } from 'vitest';
import type { FileRef } from '../../compiler/values.js';
import type { HostInfo } from '../../core/host-protocol.js';
import { createFolderStore } from '../../adapters/store/store.js';
import { faultCase, type FaultRound } from './fault-case.js';
import { programPlan, type ProgramStep } from './fault-plan.js';
import { openSite, type FaultRun, type FaultSite, type SiteOptions } from './fault-site.js';
import { until } from './until.js';
import { createWitness, type Witness, type WitnessOptions } from './witness.js';

export interface ProgramSite extends FaultSite {
  readonly witness: Witness;
  /** Starts a run of one step that is the witness. */
  start(step?: Partial<ProgramStep>): Promise<FaultRun>;
}

export interface ProgramCase {
  readonly witness?: Partial<WitnessOptions>;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
  readonly skip?: boolean;
  /** Made before the site and taken away after it: a disk of its own, a server of its own. */
  readonly surroundings?: () => Promise<Surroundings>;
}

export interface Surroundings extends Partial<Pick<SiteOptions, 'temporal' | 'stateParent'>> {
  close(): Promise<void>;
}

/** A fault case on a machine of its own, whose processes are all ended afterwards. */
export function programCase(
  name: string,
  body: (site: ProgramSite, round: FaultRound) => Promise<void>,
  options: ProgramCase = {},
): void {
  const inRound = async (round: FaultRound): Promise<void> => {
    const surroundings = await options.surroundings?.();
    try {
      const site = await openProgramSite(round, options, surroundings);
      try {
        await body(site, round);
      } finally {
        await site.close();
      }
    } finally {
      await surroundings?.close();
    }
  };
  faultCase(name, inRound, options);
}

/** By the round's seed the machine promises less, and the witness leaves a child behind or does not. */
async function openProgramSite(
  { seeded }: FaultRound,
  options: ProgramCase,
  surroundings: Surroundings | undefined,
): Promise<ProgramSite> {
  const containment = seeded.pick(['', '', 'processGroup']);
  const site = await openSite({
    temporal: surroundings?.temporal ?? inject('temporal'),
    env: { ...(containment === '' ? {} : { ADIT_CONTAINMENT: containment }), ...options.env },
    ...(surroundings?.stateParent === undefined ? {} : { stateParent: surroundings.stateParent }),
  });
  const witness = createWitness({
    folder: site.folder,
    stateDir: site.stateDir,
    salt: seeded.word(),
    // Without a containment of the kernel nobody finds a child in a session and an environment of its own.
    traits: containment === '' && seeded.between(0, 1) === 1 ? ['straggler'] : [],
    ...options.witness,
  });
  return {
    ...site,
    witness,
    start: (step) => site.startRun(programPlan({ command: witness.command, ...step })),
  };
}

export interface ExpectedRun {
  readonly status: 'succeeded' | 'failed' | 'cancelled' | 'terminated';
  readonly code?: string;
  readonly starts: number;
  /** How often the program was asked to end; absent: never. `any`: that depends on the machine. */
  readonly terms?: number | 'any';
  /** The program is ended only after the run has closed. */
  readonly endedLater?: true;
  /** Attempts of the last start, at least. */
  readonly attempts?: number;
}

/** Waits for the end of the run, and asserts it, the starts, their output, and that nothing is left. */
export async function expectRun(
  site: ProgramSite,
  run: FaultRun,
  expected: ExpectedRun,
): Promise<void> {
  const { witness } = site;
  const outcome = await run.outcome();
  expect({ status: outcome.status, code: outcome.code, message: outcome.message }).toMatchObject({
    status: expected.status,
    ...(expected.code === undefined ? {} : { code: expected.code }),
  });
  if (expected.status === 'terminated' || expected.endedLater === true) {
    await until('the program of a closed run to be ended', async () => {
      return (await witness.processes()).length === 0;
    });
  }
  await site.assertNothingLeft(witness);
  const terms = await witness.count('term');
  expect({
    starts: await witness.count('start'),
    overlaps: await witness.count('overlap'),
    terms,
  }).toEqual({
    starts: expected.starts,
    overlaps: 0,
    terms: expected.terms === 'any' ? terms : (expected.terms ?? 0),
  });
  if (expected.attempts !== undefined) {
    expect(await run.lastAttempt()).toBeGreaterThanOrEqual(expected.attempts);
  }
  const whole = witness.output();
  for (let start = 1; start < expected.starts; start += 1) {
    expectPrefix(whole, await run.output(start));
  }
  const last = await run.output(expected.starts);
  if (expected.status !== 'succeeded') {
    expectPrefix(whole, last);
    return;
  }
  expect(last).toBe(whole);
  const log = outcome.view?.outputs['log'] as unknown as FileRef;
  const store = createFolderStore(path.join(site.stateDir, 'store'));
  expect((await store.read(log)).toString()).toBe(whole);
  expect(outcome.view?.outputs['lines']).toBe(witness.lines);
}

/** A start that was cut short has written what an undisturbed one writes first. */
function expectPrefix(whole: string, output: string): void {
  expect(output).toBe(whole.slice(0, output.length));
}

/** Throws when there is no such process: a fault that was not placed proves nothing. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  if (pid === 0) throw new Error(`Nobody to send ${signal}.`);
  process.kill(pid, signal);
}

/** Kills the program with its shim, the shim first, so that nobody records how it ended. */
export async function killWithShim({ witness }: Pick<ProgramSite, 'witness'>): Promise<void> {
  const pids = await witness.processes();
  if (pids.length === 0) throw new Error('There is nobody to kill.');
  for (const pid of pids) {
    try {
      kill(pid, 'SIGKILL');
    } catch (error) {
      // The first of a namespace takes the others with it.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/** Kills the host that listens, and waits until nobody does or another one. */
export async function killHost(site: FaultSite): Promise<HostInfo> {
  const info = await site.hostInfo();
  if (info === null) throw new Error('There is no host to kill.');
  kill(info.pid, 'SIGKILL');
  await until('the host to be gone', async () => (await site.hostInfo())?.pid !== info.pid);
  return info;
}
