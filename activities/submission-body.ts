import type { SubmissionBody } from '../adapters/coordinator/coordinator.js';
import type { Artifact, PassVerdict } from '../compiler/values.js';

/** What a submission is made of: what the gate has passed, on a claim. */
export interface SubmittedWork {
  readonly claimId: string;
  readonly verdict: Pick<PassVerdict, 'commit' | 'statement' | 'claimedMetrics'>;
  readonly artifact: Artifact;
}

/** The body of protocol 2.6; what is absent is left out. */
export function toSubmissionBody(
  { claimId, verdict, artifact }: SubmittedWork,
  patch: string,
): SubmissionBody {
  const { summary, proposedIdea, implementedSubmissionId } = verdict.statement;
  const idea = proposedIdea?.trim() ?? '';
  const implemented = implementedSubmissionId?.trim() ?? '';
  return {
    claim_id: claimId,
    base_ref: verdict.commit,
    patch,
    summary: summary.trim(),
    claimed_metrics: verdict.claimedMetrics,
    ...(idea === '' ? {} : { proposed_idea: idea }),
    ...(implemented === '' ? {} : { implemented_submission_id: implemented }),
    ...(artifact.uri === undefined
      ? {}
      : {
          artifact_uri: artifact.uri,
          artifact_sha256: artifact.file.sha256,
          artifact_size_bytes: artifact.file.sizeBytes,
        }),
  };
}
