/**
 * Every write, fsync, rename and the like of host and shim is the last one once, or fails once: the host is driven
 * over its socket, as a worker drives it, until the program has ended as it should.
 */
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, describe, expect } from 'vitest';
import { StepError } from '../../core/error.js';
import type { HostProgramSpec, ProgramEnd, ProgramPlace } from '../../core/host-protocol.js';
import { connectHost, type HostClient } from '../../host/client.js';
import { programFiles } from '../../host/program-files.js';
import { isEntry } from '../../host/program-index.js';
import { isLocked } from '../../host/lock.js';
import { faultCase, type FaultRound } from '../support/fault-case.js';
import { inFolder } from '../support/in-folder.js';
import { startProgram, type Program } from '../support/local-network.js';
import {
  drawnNames,
  mayTrace,
  startTracedHost,
  type Injection,
  type SeenCall,
  type TracedHost,
} from '../support/traced-host.js';
import { until } from '../support/until.js';
import { createWitness, type Witness } from '../support/witness.js';

const AT_ONE_TIME = 3;
const STEP = { runId: 'run-1', stepPath: 'program' };
const LINES = 6;
const EXIT = 'runs/run-1/processes/program/1/exit.json';

interface Machine {
  readonly stateDir: string;
  readonly folder: string;
  readonly witness: Witness;
  readonly spec: HostProgramSpec;
  /** How the names begin that are drawn on it: no other machine draws them. */
  readonly names: string;
  hostsBegun: number;
  readonly hosts: Program[];
  traced: TracedHost | null;
}

type Scenario =
  | 'a program from its start to its end'
  | 'a program that is taken over'
  | 'a program that is ended';

/** One program, driven to its end whatever becomes of the host; resolves with how the last start ended. */
async function drive(
  machine: Machine,
  scenario: Scenario,
): Promise<{ end: ProgramEnd; start: number }> {
  const { witness } = machine;
  let start = 1;
  for (let token = 100; token < 120; token += 1) {
    const client = await connectOrStart(machine);
    try {
      const place: ProgramPlace = { ...STEP, start };
      const following = client.call('run', { place, token, spec: machine.spec, mayStart: true });
      if (scenario === 'a program that is ended') await endMeanwhile(machine, following, token);
      const result = await following;
      if ('absent' in result) throw new Error('It was allowed to start, and did not.');
      // A reply that it has ended means that nothing is left.
      expect(await witness.processes()).toEqual([]);
      if (result.end.cause === 'lost') {
        start += 1;
        continue;
      }
      return { end: result.end, start };
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      if (error.code === 'HOST_UNAVAILABLE') {
        await assertRecorded(machine);
        continue;
      }
      // The step failed: the run may go on to its next start, or end.
      expect({ code: error.code, alive: await witness.processes() }).toMatchObject({ alive: [] });
      start += 1;
    } finally {
      client.close();
    }
  }
  throw new Error('Twenty attempts did not bring it to its end.');
}

/** Asks for the end of the program as soon as it runs. */
async function endMeanwhile(
  machine: Machine,
  following: Promise<unknown>,
  token: number,
): Promise<void> {
  let over = false;
  const ended = (): void => {
    over = true;
  };
  following.then(ended, ended);
  await until('the program to run', async () => over || (await machine.witness.count('start')) > 0);
  if (over) return;
  const client = await connectHost(machine.stateDir).catch(() => null);
  if (client === null) return;
  try {
    await client.call('end', { ...STEP, token, reason: 'cancelled' });
    expect(await machine.witness.processes()).toEqual([]);
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
  } finally {
    client.close();
  }
}

/** The host is dead: whatever lives of the program is in the index, with its owner, and holds its lock. */
async function assertRecorded({ stateDir, witness }: Machine): Promise<void> {
  if ((await witness.program()) === undefined) return;
  const index = path.join(stateDir, 'host', 'programs');
  const entries = (await readdir(index)).filter(isEntry);
  expect(entries).toHaveLength(1);
  const lock = path.join(index, entries[0] ?? '');
  const owners: string[] = [];
  for (const start of [1, 2, 3]) {
    const { root } = programFiles(stateDir, { ...STEP, start });
    const owner = await readFile(path.join(root, 'owner.json'), 'utf8').catch(() => '');
    if (owner !== '') owners.push(owner);
  }
  const locked = await isLocked(lock);
  // It may have ended while we looked.
  if ((await witness.program()) === undefined) return;
  expect({ locked, owners: owners.length > 0 }).toEqual({ locked: true, owners: true });
}

async function connectOrStart(machine: Machine): Promise<HostClient> {
  return until('a host', async () => {
    const client = await connectHost(machine.stateDir).catch((error: unknown) => {
      // A host that is just dying or starting answers as it can.
      if (error instanceof StepError) return null;
      throw error;
    });
    if (client !== null) return client;
    if (machine.traced?.isAlive() === true) return undefined;
    if (machine.hosts.some(({ child }) => child.exitCode === null && child.signalCode === null)) {
      return undefined;
    }
    const host = await startHost(machine).catch((error: Error) => {
      // The traced one lives, and is slow to answer.
      if (error.message.includes('ended with 75')) return null;
      throw error;
    });
    if (host !== null) machine.hosts.push(host);
    return undefined;
  });
}

function startHost(machine: Machine): Promise<Program> {
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, ...drawnNames(namesOfNextHost(machine)) };
  return startProgram('host/main.js', ['--state-dir', machine.stateDir], env);
}

function namesOfNextHost(machine: Machine): string {
  machine.hostsBegun += 1;
  return machine.names + String(machine.hostsBegun).padStart(2, '0');
}

async function withMachine<T>(
  { seeded }: FaultRound,
  scenario: Scenario,
  body: (machine: Machine) => Promise<T>,
): Promise<T> {
  return inFolder(async (folder) => {
    const stateDir = path.join(folder, 'state');
    const witness = createWitness({
      folder,
      salt: seeded.word(),
      lines: scenario === 'a program that is ended' ? 400 : LINES,
      everyMs: 50,
    });
    const { PATH } = process.env;
    const spec: HostProgramSpec = {
      argv: witness.argv,
      env: { PATH: PATH ?? '' },
      server: null,
      limits: { stepMs: 60_000, graceMs: 2_000, minFreeBytes: 0, outputBytes: 1_000_000 },
    };
    const machine: Machine = {
      stateDir,
      folder,
      witness,
      spec,
      names: randomUUID().slice(0, 24),
      hostsBegun: 0,
      hosts: [],
      traced: null,
    };
    return body(machine);
  });
}

/** The program runs, and its host is killed: what the traced host finds. */
async function leaveRunning(machine: Machine): Promise<void> {
  const host = await startHost(machine);
  const client = await connectOrStart(machine);
  const place = { ...STEP, start: 1 };
  const following = client.call('run', { place, token: 1, spec: machine.spec, mayStart: true });
  await until('the program to run', async () => (await machine.witness.count('start')) === 1);
  // Or the next host would find it in one pass, and not in another.
  const index = path.join(machine.stateDir, 'host', 'programs');
  const isSpare = (name: string): boolean => name.endsWith('.spare');
  await until('the next spare shim', async () => (await readdir(index)).some(isSpare));
  const lost = expect(following).rejects.toMatchObject({ code: 'HOST_UNAVAILABLE' });
  await host.end('SIGKILL');
  await lost;
}

/** One pass of a scenario; what it did is asserted, and the host is given to `look` before it is ended. */
async function pass<T>(
  round: FaultRound,
  scenario: Scenario,
  injection: Injection | null,
  look: (host: TracedHost, machine: Machine) => Promise<T>,
): Promise<T> {
  return withMachine(round, scenario, async (machine) => {
    const { witness, stateDir } = machine;
    if (scenario === 'a program that is taken over') await leaveRunning(machine);
    const host = await startTracedHost(
      stateDir,
      machine.folder,
      injection,
      namesOfNextHost(machine),
    );
    machine.traced = host;
    await until('the host to listen or to end', async () => {
      if (!host.isAlive()) return true;
      const client = await connectHost(stateDir).catch(() => null);
      client?.close();
      return client !== null;
    });
    if (!host.isAlive()) await assertRecorded(machine);
    const { end, start } = await drive(machine, scenario);
    const found = await look(host, machine);
    if (scenario === 'a program that is ended') {
      expect(['requested', 'signalled', 'exited']).toContain(end.cause);
      expect(await witness.count('end')).toBe(0);
    } else {
      expect(end).toMatchObject({ cause: 'exited', code: 0 });
      const log = await readFile(programFiles(stateDir, { ...STEP, start }).log, 'utf8');
      expect(log).toBe(witness.output());
    }
    expect(await witness.count('overlap')).toBe(0);
    expect(await witness.count('start')).toBeLessThanOrEqual(start);
    expect(await witness.isUnlocked()).toBe(true);
    // What could not be removed is removed by the next host.
    const mayStay = injection?.name === 'unlink' && injection.fault !== 'signal=KILL';
    if (mayStay) {
      await host.kill();
      (await connectOrStart(machine)).close();
    }
    const index = path.join(stateDir, 'host', 'programs');
    await until('the index to be empty', async () => !(await readdir(index)).some(isEntry), 5_000);
    await host.kill();
    return found;
  });
}

/** For a call that is numbered among others: about every second try meets it. */
const TRIES = 30;
/** For a call with a file of its own, on a machine so loaded that the host comes to it another way. */
const TRIES_WITH_FILE = 3;

/** The fault at every call that an undisturbed pass makes; returns how many there were. */
async function sweep(
  round: FaultRound,
  scenario: Scenario,
  faultOf: () => Injection['fault'],
): Promise<string> {
  const calls = await pass(round, scenario, null, (host) => host.calls());
  expect(calls.length).toBeGreaterThan(5);
  const missing = new Set(calls.map(({ what }) => what));
  const failures: string[] = [];
  const meet = async (call: SeenCall): Promise<void> => {
    let { number } = call;
    for (let left = call.file === null ? TRIES : TRIES_WITH_FILE; left > 0; left -= 1) {
      const next: Injection = { ...call, number, fault: faultOf() };
      try {
        const [fired, seen] = await pass(round, scenario, next, (host) =>
          Promise.all([host.fired(), host.calls()]),
        );
        missing.delete(fired ?? '');
        if (!missing.has(call.what)) return;
        // Where it was this time; it was not reached when another one met the fault.
        const there = seen.find(({ what }) => what === call.what);
        if (call.file === null) number = there?.number ?? number + 1;
      } catch (error) {
        const { thread, fault } = next;
        failures.push(`${call.what} (${thread} ${number}) ${fault}: ${(error as Error).message}`);
        missing.delete(call.what);
        return;
      }
    }
  };
  const waiting = [...calls];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await meet(next);
  };
  await Promise.all(Array.from({ length: AT_ONE_TIME }, work));
  if (failures.length > 0) {
    throw new Error(`${failures.length} of ${calls.length} calls:\n${failures.join('\n')}`);
  }
  expect([...missing]).toEqual([]);
  return `${calls.length} calls`;
}

const SCENARIOS: readonly Scenario[] = [
  'a program from its start to its end',
  'a program that is taken over',
  'a program that is ended',
];
const notes: string[] = [];
afterAll(() => {
  for (const note of notes) process.stdout.write(`${note}\n`);
});

describe('every call that changes a file', () => {
  const skip = !mayTrace();
  const options = { timeoutMs: 600_000, skip };
  for (const scenario of SCENARIOS) {
    faultCase(
      `the host is killed at each: ${scenario}`,
      async (round) => {
        notes.push(`${scenario}, killed: ${await sweep(round, scenario, () => 'signal=KILL')}`);
      },
      options,
    );
  }
  faultCase(
    'each fails once',
    async (round) => {
      const fault = (): Injection['fault'] => round.seeded.pick(['error=EIO', 'error=ENOSPC']);
      notes.push(`failed: ${await sweep(round, 'a program from its start to its end', fault)}`);
    },
    options,
  );
  for (const fault of ['signal=KILL', 'error=EIO', 'error=ENOSPC'] as const) {
    faultCase(
      `the shim's write of the status: ${fault}`,
      async (round) => {
        const fired = await pass(
          round,
          'a program from its start to its end',
          { thread: 'shim', name: 'write', file: EXIT, number: 1, fault },
          // The tracer may not have written yet what the host has heard of already.
          (host) => until('the fault to be traced', async () => (await host.fired()) ?? undefined),
        );
        expect(fired).toContain('exit.json');
      },
      options,
    );
  }
});
