import type { ArtifactHost } from '../adapters/artifact-host/artifact-host.js';
import type { Bundles } from '../adapters/bundle/seal-bundle.js';
import type { Coordinator } from '../adapters/coordinator/coordinator.js';
import type { Evidence } from '../adapters/evidence/evidence.js';
import type { Git } from '../adapters/git/git.js';
import type { Machine } from '../adapters/machine/machine.js';
import type { ProofVerifier } from '../adapters/merkle/proof-verifier.js';
import type { Pool } from '../adapters/pool/pool.js';
import type { Processes } from '../adapters/processes/processes.js';
import type { SecretScanner } from '../adapters/secrets/secret-scanner.js';
import type { Settings } from '../adapters/settings/settings.js';
import type { Store } from '../adapters/store/store.js';
import type { Wallet } from '../adapters/wallet/wallet.js';

/** Everything outside, built once in `worker/main.ts`; steps never construct an adapter. */
export interface Adapters {
  readonly settings: Settings;
  readonly store: Store;
  readonly evidence: Evidence;
  readonly bundles: Bundles;
  readonly git: Git;
  readonly processes: Processes;
  readonly machine: Machine;
  readonly wallet: Wallet;
  readonly coordinator: Coordinator;
  readonly artifactHost: ArtifactHost;
  readonly pool: Pool;
  readonly proofVerifier: ProofVerifier;
  readonly secretScanner: SecretScanner;
  /** Task queue of this host: the one that a new `Workspace` carries. */
  readonly hostQueue: string;
}
