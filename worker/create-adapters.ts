import path from 'node:path';
import type { Adapters } from '../activities/adapters.js';
import { createArtifactHost } from '../adapters/artifact-host/artifact-host.js';
import { createBundles } from '../adapters/bundle/seal-bundle.js';
import { createCoordinator } from '../adapters/coordinator/coordinator.js';
import { createEvidence } from '../adapters/evidence/evidence.js';
import { createGit } from '../adapters/git/git.js';
import { createMachine } from '../adapters/machine/machine.js';
import { createProofVerifier } from '../adapters/merkle/proof-verifier.js';
import { createPool } from '../adapters/pool/pool.js';
import { createProcesses } from '../adapters/processes/processes.js';
import { createSecretScanner } from '../adapters/secrets/secret-scanner.js';
import { createTextMask } from '../adapters/secrets/text-mask.js';
import { createFolderStore } from '../adapters/store/store.js';
import { createWallet } from '../adapters/wallet/wallet.js';
import type { WorkerConfig } from './config.js';
import { createHostStarter } from './start-host.js';

/** Whoever runs the host starts it again. */
const waitForHost = async (): Promise<void> => {};

/** Builds every adapter of a worker, once. */
export function createAdapters(config: WorkerConfig): Adapters {
  const { settings, hostQueue, searchPath, server, containment, startsHost, build } = config;
  const { stateDir, gpus } = settings;
  const mask = createTextMask([
    settings.publishTokenFile,
    settings.hotkeyPasswordFile,
    settings.notifySecretFile,
  ]);
  const processes = createProcesses({
    stateDir,
    server,
    startHost: startsHost
      ? createHostStarter({ stateDir, gpus, searchPath, containment })
      : waitForHost,
    mask,
  });
  const store = createFolderStore(path.join(stateDir, 'store'));
  const evidence = createEvidence(stateDir);
  const wallet = createWallet(settings);
  return {
    settings,
    store,
    evidence,
    bundles: createBundles({ stateDir, store, evidence, mask, build }),
    git: createGit({
      stateDir,
      ...(searchPath === null ? {} : { searchPath }),
      runCommand: (command, signal) => processes.command(command, signal),
    }),
    processes,
    machine: createMachine(),
    wallet,
    coordinator: createCoordinator(settings, wallet),
    artifactHost: createArtifactHost(settings),
    pool: createPool(settings),
    proofVerifier: createProofVerifier(settings),
    secretScanner: createSecretScanner(),
    hostQueue,
  };
}
