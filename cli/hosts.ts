/** The process hosts of this machine that a command may ask: those of the settings, of `adit dev` and of `adit demo`. */
import { createProcesses, type Processes } from '../adapters/processes/processes.js';
import { readLivePrograms } from '../adapters/processes/recorded-starts.js';
import { StepError } from '../core/error.js';
import type { HostInfo, ProgramListing } from '../core/host-protocol.js';
import { evidenceRoots } from './run-record.js';

export interface ReachedHost {
  readonly stateDir: string;
  readonly info: HostInfo;
  readonly processes: Processes;
}

export interface ReachedHosts {
  readonly hosts: readonly ReachedHost[];
  /** State folders whose host does not run, or could not be asked. */
  readonly silent: readonly string[];
  /** Why a host that is there could not be asked. */
  readonly remarks: readonly string[];
  close(): void;
}

/** Connects to every host that runs; starts none. `mask` is for what their programs print. */
export async function reachHosts(
  stateDir: string,
  mask: (text: string) => string = (text) => text,
): Promise<ReachedHosts> {
  const hosts: ReachedHost[] = [];
  const silent: string[] = [];
  const remarks: string[] = [];
  const all: Processes[] = [];
  for (const folder of evidenceRoots(stateDir)) {
    const processes = createProcesses({ stateDir: folder, server: null, startHost: null, mask });
    all.push(processes);
    try {
      hosts.push({ stateDir: folder, info: await processes.info(), processes });
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      silent.push(folder);
      if (error.code !== 'HOST_UNAVAILABLE') remarks.push(error.message);
    }
  }
  return {
    hosts,
    silent,
    remarks,
    close: () => {
      for (const processes of all) processes.close();
    },
  };
}

/** A program with the host that has it. */
export interface HostedProgram {
  readonly host: ReachedHost;
  readonly program: ProgramListing;
}

/** Every program of these hosts, the oldest first; those that wait come last. */
export async function listPrograms(hosts: readonly ReachedHost[]): Promise<HostedProgram[]> {
  const programs: HostedProgram[] = [];
  for (const host of hosts) {
    for (const program of await host.processes.list()) programs.push({ host, program });
  }
  return programs.sort(
    (a, b) => (a.program.startedAtMs ?? Infinity) - (b.program.startedAtMs ?? Infinity),
  );
}

/** A program that lives though its host does not answer, as its records tell. */
export type UnhostedProgram = Awaited<ReturnType<typeof readLivePrograms>>[number];

/** The programs that live in the state folders whose host does not answer. */
export async function listUnhosted({ silent }: ReachedHosts): Promise<UnhostedProgram[]> {
  return (await Promise.all(silent.map(readLivePrograms))).flat();
}
