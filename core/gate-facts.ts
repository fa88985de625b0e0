/** What the evidence gate decides on: plain values, gathered by whoever can read, fetch and scan. */
import type { MetricDirection } from './gain.js';

/** What must be equal for two measurements to be comparable. */
export interface GateFingerprint {
  readonly command: string;
  readonly commit: string;
  readonly heldoutSha256: string;
  readonly environmentSha256: string;
  readonly device: string;
  readonly runtimeSha256: string;
}

export interface GateMeasurement {
  readonly metric: string;
  readonly value: number;
  readonly direction: MetricDirection;
  readonly secondary?: { readonly metric: string; readonly value: number } | undefined;
  readonly fingerprint: GateFingerprint;
  /** Digest of the artifact that was measured. */
  readonly artifactSha256: string;
  /** git tree that was measured. */
  readonly tree: string;
}

export interface GateCandidate {
  readonly measurement: GateMeasurement;
  /** Digest of the artifact that it says is its own. */
  readonly artifactSha256: string;
  readonly commit: string;
  readonly tree: string;
}

export interface GateFacts {
  readonly task: {
    readonly benchmarkCommand: string;
    readonly metricName: string;
    readonly metricDirection: MetricDirection;
    readonly secondaryMetricName?: string | undefined;
    readonly allowedPatchPaths: readonly string[];
    readonly maxPatchBytes: number;
    readonly competitionMode: string;
  };
  readonly baseline: GateCandidate;
  readonly candidate: GateCandidate;
  readonly patch: {
    /** The patch as text; null when it is not UTF-8, or larger than the task allows and so was not read. */
    readonly text: string | null;
    readonly sizeBytes: number;
    readonly commit: string;
    readonly tree: string;
    /** The paths that the patch was said to touch. */
    readonly paths: readonly string[];
  };
  readonly artifact: {
    readonly sha256: string;
    readonly sizeBytes: number;
    readonly uri?: string | undefined;
    /** What is wrong with the bytes that its address serves now; null when they are the measured ones. */
    readonly problem: string | null;
  };
  /** Secrets that were found: where, of which kind. */
  readonly secrets: ReadonlyArray<{
    readonly where: string;
    readonly kind: string;
    readonly line: number;
  }>;
  /** Least gain, in nats for a perplexity, else in the metric's own unit. */
  readonly threshold: number;
  readonly summary: string;
  readonly proposedIdea?: string | undefined;
  readonly implementedSubmissionId?: string | undefined;
  /** Ids of other miners' submissions with an idea, in the coordinator's order; asked of centerless tasks only. */
  readonly foreignIdeaIds: readonly string[];
}
