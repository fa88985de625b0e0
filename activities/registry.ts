import type { StepType } from './step-type.js';
import { artifactPublish } from './artifact-publish.js';
import { candidateSelect } from './candidate-select.js';
import { candidateTrain } from './candidate-train.js';
import { coordinatorAcceptance } from './coordinator-acceptance.js';
import { coordinatorCancelClaim } from './coordinator-cancel-claim.js';
import { coordinatorClaim } from './coordinator-claim.js';
import { coordinatorDiscover } from './coordinator-discover.js';
import { coordinatorOnboard } from './coordinator-onboard.js';
import { coordinatorSubmit } from './coordinator-submit.js';
import { gateEvidence } from './gate-evidence.js';
import { processRun } from './process-run.js';
import { rewardsProof } from './rewards-proof.js';
import { roundPreflight } from './round-preflight.js';
import { taskBenchmark } from './task-benchmark.js';
import { workspaceClone } from './workspace-clone.js';
import { workspaceEdit } from './workspace-edit.js';
import { workspaceFork } from './workspace-fork.js';
import { workspacePatch } from './workspace-patch.js';
import { workspaceSetup } from './workspace-setup.js';

/** Every step type, in the order of a round: the order of docs/steps.md. */
export const STEP_TYPES: readonly StepType[] = [
  roundPreflight,
  coordinatorDiscover,
  coordinatorOnboard,
  workspaceClone,
  workspaceSetup,
  workspaceFork,
  workspaceEdit,
  candidateTrain,
  taskBenchmark,
  candidateSelect,
  workspacePatch,
  artifactPublish,
  gateEvidence,
  coordinatorClaim,
  coordinatorSubmit,
  coordinatorCancelClaim,
  coordinatorAcceptance,
  rewardsProof,
  processRun,
];
