import { z } from 'zod';
import {
  artifactSchema,
  candidateSchema,
  passVerdictSchema,
  patchSchema,
  taskSchema,
  type Artifact,
  type FileRef,
  type Patch,
  type Task,
} from '../compiler/values.js';
import { canonicalJson } from '../core/canonical-json.js';
import { StepError } from '../core/error.js';
import { decideGate, type GateDecision } from '../core/gate.js';
import type { Json } from '../core/json.js';
import type { Adapters } from './adapters.js';
import { gateFactsOf, patchTextOf } from './gate-facts.js';
import { defineStep } from './step-type.js';

export const gateEvidence = defineStep({
  name: 'gate.evidence',
  summary:
    'Ends the run as stopped unless the evidence is whole: comparable measurements, enough gain, a clean patch, the published artifact.',
  input: z.object({
    task: taskSchema.describe('The task to submit to.'),
    baseline: candidateSchema.describe('The untouched task, trained and measured.'),
    candidate: candidateSchema.describe('The candidate to submit.'),
    patch: patchSchema.describe("The candidate's patch."),
    artifact: artifactSchema.describe("The candidate's artifact, published."),
    threshold: z
      .number()
      .nonnegative()
      .describe("Least gain to submit: nats for a perplexity, else the metric's own unit."),
    summary: z.string().describe('What was done, for the submission; at most 7900 characters.'),
    proposed_idea: z
      .string()
      .optional()
      .describe('The idea to propose; a centerless task asks for one. Blank is absent.'),
    implemented_submission_id: z
      .string()
      .optional()
      .describe(
        'Submission whose idea was implemented; never chosen automatically. Blank is absent.',
      ),
  }),
  output: z.object({
    verdict: passVerdictSchema.describe('What coordinator.claim and coordinator.submit demand.'),
  }),
  defaults: {
    timeout: '2h',
    heartbeat: '20s',
    retry: { attempts: 5, first: '2s', factor: 2, most: '1m' },
  },
  errors: [
    'GATE_NOT_PASSED',
    'ARTIFACT_CHANGED',
    'ARTIFACT_HOST_UNAVAILABLE',
    'FILE_MISSING',
    'FILE_CHANGED',
    'COORDINATOR_UNAVAILABLE',
    'COORDINATOR_REPLY_INVALID',
  ],
  submission: {
    role: 'gate',
    verdict: 'verdict',
    candidate: 'candidate',
    judges: { patch: 'workspace', artifact: 'artifact' },
  },
  example: `
- id: gate
  uses: gate.evidence
  with:
    task: \${{ steps.discover.task }}
    baseline: \${{ steps.baseline.candidate }}
    candidate: \${{ steps.best.candidate }}
    patch: \${{ steps.patch.patch }}
    artifact: \${{ steps.published.artifact }}
    threshold: 0.02
    summary: One scale per row instead of one per matrix.
`,
  run: async (input, { adapters, progress, signal }) => {
    const { task, baseline, candidate, patch, artifact, threshold, summary } = input;
    const proposedIdea = textOrAbsent(input.proposed_idea);
    const implementedSubmissionId = textOrAbsent(input.implemented_submission_id);

    progress({ checking: 'patch' });
    const patchText = await readPatch(adapters, patch, task);
    progress({ checking: 'artifact' });
    const problem = await fetchBack(adapters, artifact, signal);
    const foreignIdeaIds =
      task.competitionMode === 'centerless'
        ? (await adapters.coordinator.foreignIdeas(task.id, signal)).map(({ known }) => known.id)
        : [];
    const facts = gateFactsOf(
      {
        task,
        baseline,
        candidate,
        patch,
        patchText,
        artifact,
        artifactProblem: problem,
        threshold,
        summary,
        proposedIdea,
        implementedSubmissionId,
        foreignIdeaIds,
      },
      adapters.secretScanner,
    );

    const decision = decideGate(facts);
    const statement = {
      summary,
      ...(proposedIdea === undefined ? {} : { proposedIdea }),
      ...(implementedSubmissionId === undefined ? {} : { implementedSubmissionId }),
    };
    const evidence = {
      taskId: task.id,
      task,
      baseline,
      candidate,
      patch,
      artifact,
      threshold,
      foreignIdeaIds,
      // What only this look could tell; the rest of the decision can be made again from the above.
      artifactProblem: problem,
    };
    const report = await adapters.store.putBytes(
      `${JSON.stringify({ format: 'adit-gate-report/1', decidedAt: new Date().toISOString(), ...decision, statement, evidence }, null, 2)}\n`,
    );
    if (!decision.passed || artifact.uri === undefined) {
      throw refusal(decision, report, problem !== null);
    }
    const measurement = await adapters.store.putBytes(canonicalJson(toJson(candidate.measurement)));
    return {
      verdict: {
        patchSha256: patch.file.sha256,
        artifactSha256: artifact.file.sha256,
        artifactUri: artifact.uri,
        artifactSizeBytes: artifact.file.sizeBytes,
        measurementSha256: measurement.sha256,
        taskId: task.id,
        commit: patch.commit,
        metric: task.metricName,
        direction: task.metricDirection,
        baseline: baseline.measurement.value,
        candidate: candidate.measurement.value,
        gain: decision.gain,
        gainUnit: decision.gainUnit,
        threshold,
        statement,
        claimedMetrics: { ...decision.claimedMetrics },
        reasons: decision.checks.map(({ name, reason }) => `${name}: ${reason}`),
        report,
      },
    };
  },
});

/** Without the members that zod leaves as undefined. */
function toJson(value: object): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}

function textOrAbsent(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}

/** The patch from the store, its digest compared; null when it is not UTF-8 or larger than the task allows. */
async function readPatch({ store }: Adapters, patch: Patch, task: Task): Promise<string | null> {
  if (patch.file.sizeBytes > task.maxPatchBytes) return null;
  return patchTextOf(await store.read(patch.file));
}

/** What is wrong with the published bytes now; null when nothing is, or nothing is published. */
async function fetchBack(
  { artifactHost }: Adapters,
  artifact: Artifact,
  signal: AbortSignal,
): Promise<string | null> {
  if (artifact.uri === undefined) return null;
  try {
    await artifactHost.verify(artifact.uri, artifact.file, signal);
    return null;
  } catch (error) {
    if (error instanceof StepError && error.code === 'ARTIFACT_UNSUITABLE')
      return error.message.replace(/\.$/, '');
    throw error;
  }
}

/** Every failed check in one message: a person mends them together. */
function refusal(decision: GateDecision, report: FileRef, artifactChanged: boolean): StepError {
  const failed = decision.checks.filter((check) => !check.passed);
  const reasons = failed.map(({ name, reason }) => `${name}: ${reason}.`).join(' ');
  return new StepError(
    artifactChanged ? 'ARTIFACT_CHANGED' : 'GATE_NOT_PASSED',
    `The evidence gate did not pass, ${failed.length} of ${decision.checks.length} checks failed. ${reasons}`,
    {
      hint: `Nothing was claimed or submitted. The whole report is in the store: ${report.sha256}.`,
    },
  );
}
