/** What the evidence gate decides on, from the values of a round: for the step, and for whoever decides it again. */
import type { SecretScanner } from '../adapters/secrets/secret-scanner.js';
import type { Artifact, Candidate, Patch, Task } from '../compiler/values.js';
import type { GateCandidate, GateFacts } from '../core/gate-facts.js';

/** What is judged, and what was found out about it elsewhere. */
export interface GateEvidence extends Pick<
  GateFacts,
  'threshold' | 'summary' | 'proposedIdea' | 'implementedSubmissionId' | 'foreignIdeaIds'
> {
  readonly task: Task;
  readonly baseline: Candidate;
  readonly candidate: Candidate;
  readonly patch: Patch;
  /** The patch as text; null when it is not UTF-8, or larger than the task allows and so was not read. */
  readonly patchText: string | null;
  readonly artifact: Artifact;
  /** What is wrong with the bytes that its address serves; null when nothing is. */
  readonly artifactProblem: string | null;
}

export function gateFactsOf(evidence: GateEvidence, scanner: SecretScanner): GateFacts {
  const { task, baseline, candidate, patch, patchText, artifact, artifactProblem } = evidence;
  const { threshold, summary, proposedIdea, implementedSubmissionId, foreignIdeaIds } = evidence;
  const find = (where: string, text: string): GateFacts['secrets'][number][] =>
    scanner.find(text).map(({ kind, line }) => ({ where, kind, line }));
  return {
    task,
    baseline: toGateCandidate(baseline),
    candidate: toGateCandidate(candidate),
    patch: {
      text: patchText,
      sizeBytes: patch.file.sizeBytes,
      commit: patch.commit,
      tree: patch.tree,
      paths: patch.paths,
    },
    artifact: {
      sha256: artifact.file.sha256,
      sizeBytes: artifact.file.sizeBytes,
      uri: artifact.uri,
      problem: artifactProblem,
    },
    secrets: [
      ...find('patch', patchText ?? ''),
      ...find('summary', summary),
      ...find('proposed idea', proposedIdea ?? ''),
    ],
    threshold,
    summary,
    proposedIdea,
    implementedSubmissionId,
    foreignIdeaIds,
  };
}

/** The text of a patch; null when it is not UTF-8. */
export function patchTextOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function toGateCandidate({ measurement, artifact, workspace }: Candidate): GateCandidate {
  return {
    measurement,
    artifactSha256: artifact.file.sha256,
    commit: workspace.commit,
    tree: workspace.tree,
  };
}
