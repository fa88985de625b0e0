/**
 * The values that travel between steps, defined once. The checker knows them by their `id`:
 * two values of equal shape and different name are different types.
 *
 * Invariants:
 * 1. Values are immutable. A step that changes files returns a new `Workspace`; its tree digest says what is in it.
 * 2. Large bytes never travel: a step stores them and passes a `FileRef`.
 * 3. `PassVerdict` is nominal: only `gate.evidence` returns one, and no literal can be one.
 */
import { z } from 'zod';

const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .describe('SHA-256, 64 lower-case hex digits.');
/** The checker knows it by its id. */
const timestamp = z.string().meta({ id: 'timestamp' });
const sizeBytes = z.int().nonnegative().describe('Size in bytes.');

export const fileRefSchema = z
  .object({
    uri: z.string().describe('Where the bytes are: `store:<sha256>`.'),
    sha256,
    sizeBytes,
  })
  .meta({ id: 'FileRef', description: 'A file in the store, by its digest.' });
export type FileRef = z.infer<typeof fileRefSchema>;

const direction = z.enum(['minimize', 'maximize']);

export const taskSchema = z
  .object({
    id: z.string().describe('Id on the coordinator; may change when the catalogue is reseeded.'),
    slug: z.string(),
    title: z.string(),
    repository: z.string().describe('Clone URL.'),
    baseRef: z.string().describe('Branch, tag or commit; resolved once, by workspace.clone.'),
    setupCommand: z.string().optional(),
    benchmarkCommand: z.string(),
    resultPath: z
      .string()
      .optional()
      .describe('Result file of the benchmark, relative to the repository root.'),
    allowedPatchPaths: z.array(z.string()).describe('Paths or globs that a patch may touch.'),
    maxPatchBytes: z.int().positive(),
    metricName: z.string(),
    metricDirection: direction,
    rankingMode: z.string(),
    secondaryMetricName: z.string().optional(),
    secondaryMetricDirection: direction.optional(),
    competitionMode: z.string().describe('`standard`, `centerless` or `peer_evaluation`.'),
    minPeerEvaluations: z.int().optional(),
    timeBudgetSeconds: z.int().positive().describe("The validator's budget for a whole replay."),
    taskState: z.string(),
    isActive: z.boolean(),
    onboardPath: z.string().optional(),
    record: fileRefSchema.describe(
      'The task record as the coordinator served it, unknown keys included.',
    ),
  })
  .meta({ id: 'Task', description: 'A task of the coordinator (protocol section 2.4).' });
export type Task = z.infer<typeof taskSchema>;

export const onboardingSchema = z
  .object({
    file: fileRefSchema.describe('The onboarding page as served: untrusted text.'),
    taskId: z.string(),
  })
  .meta({
    id: 'Onboarding',
    description: 'The onboarding page of a task, compared with its record.',
  });

export const workspaceSchema = z
  .object({
    queue: z.string().describe('Task queue of the host that holds the checkout.'),
    path: z.string().describe('Absolute path of the checkout on that host.'),
    commit: z
      .string()
      .regex(/^[0-9a-f]{40}$/)
      .describe('The 40-digit commit that was checked out.'),
    tree: z
      .string()
      .regex(/^[0-9a-f]{40}$/)
      .describe('git tree id of the tracked content, edits included.'),
  })
  .meta({ id: 'Workspace', description: 'A checkout of the task repository on one host.' });
export type Workspace = z.infer<typeof workspaceSchema>;

export const editSchema = z
  .object({
    path: z
      .string()
      .describe('File to change, relative to the repository root; inside the task surface.'),
    find: z.string().min(1).describe('Text that must occur exactly once.'),
    replace: z.string().describe('Text to put in its place.'),
  })
  .meta({ id: 'Edit', description: 'One exact replacement in one file.' });
export type Edit = z.infer<typeof editSchema>;

export const recipeSchema = z
  .object({
    name: z.string().min(1).describe('Name for people and reports.'),
    edits: z.array(editSchema).min(1),
  })
  .meta({ id: 'Recipe', description: 'A named set of edits to try.' });

export const artifactSchema = z
  .object({
    file: fileRefSchema,
    uri: z
      .string()
      .optional()
      .describe('Public https address; present once published and fetched back.'),
  })
  .meta({
    id: 'Artifact',
    description: 'What a training made: the bytes that a validator downloads.',
  });
export type Artifact = z.infer<typeof artifactSchema>;

/** What must be equal between two measurements before they may be compared. */
const fingerprintSchema = z.object({
  command: z.string().describe('The benchmark command.'),
  commit: z.string().describe('Commit of the checkout.'),
  heldoutSha256: sha256.describe(
    "Digest of the result file's `dataset_handle`: which documents were scored.",
  ),
  environmentSha256: sha256.describe(
    'Digest of the environment that the benchmark got, artifact variables left out.',
  ),
  device: z.string().describe("The result file's `runtime.device`, else `unknown`."),
  runtimeSha256: sha256.describe("Digest of the result file's `runtime`."),
});

export const measurementSchema = z
  .object({
    metric: z.string(),
    value: z.number(),
    direction,
    secondary: z.object({ metric: z.string(), value: z.number() }).optional(),
    fingerprint: fingerprintSchema,
    artifactSha256: sha256.describe('Digest of the artifact that was measured.'),
    tree: z.string().describe('git tree of the workspace that was measured.'),
    resultFile: fileRefSchema.optional(),
    log: fileRefSchema.describe("The benchmark's output."),
    measuredAt: timestamp.describe('ISO 8601, UTC.'),
  })
  .meta({
    id: 'Measurement',
    description: 'A metric with the fingerprint of how it was measured.',
  });
export type Measurement = z.infer<typeof measurementSchema>;

export const candidateSchema = z
  .object({
    recipe: recipeSchema.optional().describe('Absent for the baseline.'),
    workspace: workspaceSchema,
    artifact: artifactSchema,
    measurement: measurementSchema,
  })
  .meta({
    id: 'Candidate',
    description: 'Recipe, workspace, artifact and measurement, held together.',
  });
export type Candidate = z.infer<typeof candidateSchema>;

export const patchSchema = z
  .object({
    file: fileRefSchema.describe('The unified diff; may be empty.'),
    commit: z.string().describe('The commit that it applies to.'),
    tree: z.string().describe('git tree after the patch.'),
    paths: z.array(z.string()).describe('Paths as the validator reads them from the patch.'),
    baseSha256: sha256
      .optional()
      .describe(
        'Digest of the list of files that it changes, which the store has, for `adit verify`.',
      ),
  })
  .meta({
    id: 'Patch',
    description: "A diff built and checked by the validator's rules (protocol 3.5, 4.3).",
  });
export type Patch = z.infer<typeof patchSchema>;

/** What a miner says about the work: the texts of a submission. */
const statementSchema = z.object({
  summary: z.string().min(1).max(7_900),
  proposedIdea: z.string().optional(),
  implementedSubmissionId: z.string().optional(),
});

export const passVerdictSchema = z
  .object({
    patchSha256: sha256,
    artifactSha256: sha256,
    artifactUri: z.string(),
    artifactSizeBytes: sizeBytes,
    measurementSha256: sha256.describe('Digest of the candidate measurement, as canonical JSON.'),
    taskId: z.string(),
    commit: z.string(),
    metric: z.string(),
    direction,
    baseline: z.number(),
    candidate: z.number(),
    gain: z.number().describe('In the unit below, positive when better.'),
    gainUnit: z.string().describe("`nats` for a perplexity, otherwise the metric's own unit."),
    threshold: z.number(),
    statement: statementSchema,
    claimedMetrics: z.record(z.string(), z.number()),
    reasons: z.array(z.string()).describe('Each check that was passed, for people.'),
    report: fileRefSchema.describe('The whole verdict as JSON.'),
  })
  .meta({
    id: 'PassVerdict',
    description: 'Proof that the evidence gate passed. Only gate.evidence makes one.',
  });
export type PassVerdict = z.infer<typeof passVerdictSchema>;

export const claimSchema = z
  .object({
    id: z.string(),
    taskId: z.string(),
    hotkey: z.string(),
    status: z.string(),
    description: z.string(),
    expiresAt: timestamp.describe('ISO 8601, UTC: a deadline for the submission.'),
    createdAt: timestamp,
    record: fileRefSchema,
  })
  .meta({ id: 'Claim', description: 'A claim on a task (protocol section 2.5).' });
export type Claim = z.infer<typeof claimSchema>;

export const submissionSchema = z
  .object({
    id: z.string(),
    taskId: z.string(),
    claimId: z.string(),
    status: z.string(),
    createdAt: timestamp.optional(),
    record: fileRefSchema.describe('The stored submission as read back.'),
  })
  .meta({ id: 'Submission', description: 'A stored submission (protocol section 2.6).' });
export type Submission = z.infer<typeof submissionSchema>;

export const acceptanceSchema = z
  .object({
    submissionId: z.string(),
    status: z.literal('accepted'),
    observedMetrics: z.record(z.string(), z.number()),
    record: fileRefSchema,
  })
  .meta({ id: 'Acceptance', description: 'What the validator observed (protocol section 2.7).' });
export type Acceptance = z.infer<typeof acceptanceSchema>;

export const rewardProofSchema = z
  .object({
    epoch: z.string().describe('Decimal, u64.'),
    index: z.int(),
    hotkey: z.string(),
    recipient: z.string().describe('SS58 address that is paid; equal to the pinned one.'),
    amount: z.string().describe('Cumulative amount in base units of SN94 alpha, decimal, u64.'),
    root: z.string().describe('Merkle root, 0x and 64 hex digits.'),
    rootSource: z.string().describe('Where the root came from.'),
    comparedWithChain: z.boolean(),
    result: z.enum(['verified', 'invalid', 'unknown_profile']),
    profile: z.string().optional().describe('The encoding profile that matched.'),
    file: fileRefSchema.describe('The claim package, the epoch record and the verification.'),
  })
  .meta({
    id: 'RewardProof',
    description: 'A claim package of the Pool with its verified Merkle proof.',
  });
export type RewardProof = z.infer<typeof rewardProofSchema>;

/** Every named value, by its name in a pipeline's `inputs` types and in the documentation. */
export const VALUES = {
  FileRef: fileRefSchema,
  Task: taskSchema,
  Onboarding: onboardingSchema,
  Workspace: workspaceSchema,
  Edit: editSchema,
  Recipe: recipeSchema,
  Artifact: artifactSchema,
  Measurement: measurementSchema,
  Candidate: candidateSchema,
  Patch: patchSchema,
  PassVerdict: passVerdictSchema,
  Claim: claimSchema,
  Submission: submissionSchema,
  Acceptance: acceptanceSchema,
  RewardProof: rewardProofSchema,
} as const;
