/** A step context with a real store, git, processes (a host of its own, in this process) and evidence in a temporary state folder. */
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Adapters } from '../../activities/adapters.js';
import type { StepContext } from '../../activities/step-type.js';
import { createEvidence } from '../../adapters/evidence/evidence.js';
import { createGit } from '../../adapters/git/git.js';
import { createMachine } from '../../adapters/machine/machine.js';
import { createProcesses } from '../../adapters/processes/processes.js';
import { loadSettings } from '../../adapters/settings/settings.js';
import { createFolderStore } from '../../adapters/store/store.js';
import type { Json } from '../../core/json.js';
import { createTestHost } from './process-host.js';

export interface StepRig {
  readonly stateDir: string;
  readonly adapters: Adapters;
  /** Every status that steps reported, in order. */
  readonly statuses: { readonly [key: string]: Json }[];
  /** A context for one try of the step at `stepPath`. */
  context(stepPath: string, changes?: Partial<StepContext> & { start?: number }): StepContext;
  /** Ends what still runs. */
  close(): Promise<void>;
}

export function createStepRig(env: Record<string, string> = {}): StepRig {
  const stateDir = mkdtempSync(path.join(tmpdir(), 'adit-steps-'));
  const host = createTestHost(stateDir);
  const processes = createProcesses({ stateDir, server: null, startHost: host.startHost });
  const adapters: Adapters = {
    settings: loadSettings({ ADIT_STATE_DIR: stateDir, ...env }, stateDir),
    store: createFolderStore(path.join(stateDir, 'store')),
    evidence: createEvidence(stateDir),
    get bundles(): Adapters['bundles'] {
      throw notUsed('bundles');
    },
    git: createGit({
      stateDir,
      searchPath: process.env['PATH'] ?? '',
      runCommand: (command, signal) => processes.command(command, signal),
    }),
    processes,
    get wallet(): Adapters['wallet'] {
      throw notUsed('wallet');
    },
    get coordinator(): Adapters['coordinator'] {
      throw notUsed('coordinator');
    },
    get artifactHost(): Adapters['artifactHost'] {
      throw notUsed('artifactHost');
    },
    get pool(): Adapters['pool'] {
      throw notUsed('pool');
    },
    get proofVerifier(): Adapters['proofVerifier'] {
      throw notUsed('proofVerifier');
    },
    get secretScanner(): Adapters['secretScanner'] {
      throw notUsed('secretScanner');
    },
    machine: createMachine(),
    hostQueue: 'adit.host-1',
  };
  const statuses: { readonly [key: string]: Json }[] = [];
  return {
    stateDir,
    adapters,
    statuses,
    context(stepPath, { start = 1, ...changes } = {}) {
      return {
        call: {
          runId: 'run-1',
          roundId: 'round-1',
          pipeline: 'test',
          path: stepPath,
          start,
          network: { coordinator: '', hotkey: '' },
        },
        firstAttempt: start === 1,
        attempt: 1,
        scheduledAtMs: start,
        deadlineMs: null,
        signal: new AbortController().signal,
        progress: (status) => statuses.push(status),
        adapters,
        ...changes,
      };
    },
    async close() {
      processes.close();
      await host.close();
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

/** The steps of this rig work on this host only: one that turns to the network fails its test. */
function notUsed(name: string): Error {
  return new Error(`The step used the adapter ${name}.`);
}
