import { createHash } from 'node:crypto';
import { z } from 'zod';
import { gateFactsOf, patchTextOf } from '../../activities/gate-facts.js';
import type { BundleRecord } from '../../adapters/bundle/chain.js';
import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import { createSecretScanner } from '../../adapters/secrets/secret-scanner.js';
import {
  artifactSchema,
  candidateSchema,
  passVerdictSchema,
  patchSchema,
  taskSchema,
  type PassVerdict,
} from '../../compiler/values.js';
import { decideGate, type GateDecision } from '../../core/gate.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';
import {
  canonical,
  check,
  checksWithoutRecord,
  CheckEnd,
  evidenceOfError,
  failed,
  notFromHere,
  outputsOf,
  readFileOf,
  readJsonOf,
  shaped,
  stepsOf,
  type Check,
} from './check.js';

const reportSchema = z.object({
  format: z.literal('adit-gate-report/1'),
  passed: z.boolean(),
  checks: z.array(z.object({ name: z.string(), passed: z.boolean(), reason: z.string() })),
  /** Null in JSON for what is no number. */
  gain: z.number().nullable(),
  gainUnit: z.string(),
  claimedMetrics: z.record(z.string(), z.number()),
  statement: z.object({
    summary: z.string(),
    proposedIdea: z.string().optional(),
    implementedSubmissionId: z.string().optional(),
  }),
  evidence: z.object({
    task: taskSchema.optional(),
    baseline: candidateSchema,
    candidate: candidateSchema,
    patch: patchSchema,
    artifact: artifactSchema,
    threshold: z.number(),
    foreignIdeaIds: z.array(z.string()),
    artifactProblem: z.string().nullable().optional(),
  }),
});
type Report = z.output<typeof reportSchema>;

/** Decides each gate again from its evidence. */
export async function checkGates(bundle: OpenBundle): Promise<Check[]> {
  const checks = checksWithoutRecord(bundle, 'gate', 'gate.evidence');
  for (const record of stepsOf(bundle, 'gate.evidence')) {
    const outputs = outputsOf(record);
    const refused = evidenceOfError(record);
    if (outputs === null && refused === null) continue;
    checks.push(
      await check('gate', record.name, async () => {
        const verdict =
          outputs === null ? null : shaped(outputs['verdict'], passVerdictSchema, 'the verdict');
        const sha256 = verdict?.report.sha256 ?? refused ?? '';
        const { report, raw, decision } = await readVerdict(bundle, sha256);
        if (report.passed !== (verdict !== null))
          throw failed(`the report says ${report.passed ? 'PASS' : 'STOP'}, and its step does not`);
        assertFromHere(bundle, raw['evidence'] ?? null);
        if (verdict !== null) assertCovers(verdict, report);
        const made = decision.checks.length;
        const no = decision.checks.filter(({ passed }) => !passed).length;
        return report.passed
          ? `PASS, decided again from the evidence: ${made} of ${made} checks`
          : `STOP, decided again from the evidence: ${no} of ${made} checks failed`;
      }),
    );
  }
  return checks;
}

/** The report of a gate, decided again. Ends the check when it does not say what its evidence says. */
export async function readVerdict(
  bundle: OpenBundle,
  sha256: string,
): Promise<{
  readonly report: Report;
  readonly raw: JsonObject;
  readonly decision: GateDecision;
}> {
  const { value: report, raw } = await readJsonOf(bundle, sha256, {
    what: 'the report of the gate',
    schema: reportSchema,
  });
  const decision = await decideAgain(bundle, report);
  assertAgrees(report, decision);
  return { report, raw, decision };
}

async function decideAgain(bundle: OpenBundle, report: Report): Promise<GateDecision> {
  const { statement, evidence } = report;
  const { task, baseline, candidate, patch, artifact, threshold, foreignIdeaIds } = evidence;
  if (task === undefined || evidence.artifactProblem === undefined)
    throw new CheckEnd('not made', 'the report is of a build that kept less than it decided on');
  const patchText =
    patch.file.sizeBytes > task.maxPatchBytes
      ? null
      : patchTextOf(await readPatch(bundle, patch.file));
  return decideGate(
    gateFactsOf(
      {
        ...statement,
        task,
        baseline,
        candidate,
        patch,
        patchText,
        artifact,
        artifactProblem: evidence.artifactProblem,
        threshold,
        foreignIdeaIds,
      },
      createSecretScanner(),
    ),
  );
}

/** Far more than a task allows: to search a stranger's text for mnemonics takes a minute for each few megabytes. */
const MOST_PATCH_BYTES = 4 * 1024 * 1024;

/** The bytes of the patch; a claimed size that is not theirs would change what is judged. */
async function readPatch(
  bundle: OpenBundle,
  file: { readonly sha256: string; readonly sizeBytes: number },
): Promise<Buffer> {
  const bytes = await readFileOf(bundle, file.sha256, 'the patch', MOST_PATCH_BYTES);
  if (bytes.length !== file.sizeBytes)
    throw failed(`the patch has ${bytes.length} bytes, not ${file.sizeBytes}`);
  return bytes;
}

/** By name and result: a later build may word its reasons otherwise. */
function assertAgrees(report: Report, decision: GateDecision): void {
  for (const { name, passed, reason } of decision.checks) {
    const recorded = report.checks.find((each) => each.name === name);
    if (recorded !== undefined && recorded.passed !== passed) {
      throw failed(
        `the check "${name}" ${recorded.passed ? 'passed' : 'failed'} then, and ${passed ? 'passes' : 'fails'} now: ${reason}`,
      );
    }
  }
  if (report.passed !== decision.passed)
    throw failed(`the report says ${word(report.passed)}, the evidence ${word(decision.passed)}`);
  const gain = Number.isFinite(decision.gain) ? decision.gain : null;
  if (report.gain !== gain || report.gainUnit !== decision.gainUnit)
    throw failed(`the report says a gain of ${report.gain}, the measurements ${gain}`);
  if (!isSame(report.claimedMetrics, { ...decision.claimedMetrics }))
    throw failed('the report claims other metrics than were measured');
}

/** What it decided on must be what steps of the round returned; a task may be an input of the pipeline as well. */
function assertFromHere(bundle: OpenBundle, value: Json): void {
  const evidence = isJsonObject(value) ? value : {};
  const measured = valuesOf(bundle, 'task.benchmark', 'measurement');
  for (const who of ['baseline', 'candidate']) {
    const held = evidence[who];
    if (!measured.has(canonical(isJsonObject(held) ? (held['measurement'] ?? null) : null)))
      throw notFromHere(
        bundle,
        `no benchmark in the bundle has made the measurement of the ${who}`,
      );
  }
  if (!valuesOf(bundle, 'workspace.patch', 'patch').has(canonical(evidence['patch'] ?? null)))
    throw notFromHere(bundle, 'no step in the bundle has made the patch that was judged');
  if (
    !valuesOf(bundle, 'artifact.publish', 'artifact').has(canonical(evidence['artifact'] ?? null))
  )
    throw notFromHere(bundle, 'no step in the bundle has published the artifact that was judged');
  const task = evidence['task'] ?? null;
  const isInput = bundle
    .records('plan')
    .some((plan) => holds(plan.value['inputs'] ?? null, canonical(task)));
  if (!isInput && !valuesOf(bundle, 'coordinator.discover', 'task').has(canonical(task)))
    throw notFromHere(bundle, 'the task is another one than the coordinator served');
}

/** What the steps of a type returned under a name, each as its one text. */
function valuesOf(bundle: OpenBundle, uses: string, name: string): ReadonlySet<string> {
  return new Set(
    stepsOf(bundle, uses)
      .map((record: BundleRecord) => outputsOf(record)?.[name])
      .filter((value) => value !== undefined)
      .map(canonical),
  );
}

/** True when a value, or one inside it, has this one text. */
function holds(value: Json, text: string): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return canonical(value) === text || Object.values(value).some((member) => holds(member, text));
}

function assertCovers(verdict: PassVerdict, report: Report): void {
  const { task, patch, artifact, baseline, candidate, threshold } = report.evidence;
  const measurement = JSON.parse(JSON.stringify(candidate.measurement)) as Json;
  const pairs: ReadonlyArray<readonly [string, unknown, unknown]> = [
    ['task', verdict.taskId, task?.id],
    ['patch', verdict.patchSha256, patch.file.sha256],
    ['commit', verdict.commit, patch.commit],
    ['artifact', verdict.artifactSha256, artifact.file.sha256],
    ['address of the artifact', verdict.artifactUri, artifact.uri],
    ['size of the artifact', verdict.artifactSizeBytes, artifact.file.sizeBytes],
    ['metric', verdict.metric, task?.metricName],
    ['baseline', verdict.baseline, baseline.measurement.value],
    ['candidate', verdict.candidate, candidate.measurement.value],
    ['gain', verdict.gain, report.gain],
    ['unit of the gain', verdict.gainUnit, report.gainUnit],
    ['direction', verdict.direction, task?.metricDirection],
    ['summary', verdict.statement.summary, report.statement.summary],
    ['idea', verdict.statement.proposedIdea, report.statement.proposedIdea],
    [
      'implemented submission',
      verdict.statement.implementedSubmissionId,
      report.statement.implementedSubmissionId,
    ],
    ['threshold', verdict.threshold, threshold],
    [
      'measurement',
      verdict.measurementSha256,
      createHash('sha256').update(canonical(measurement)).digest('hex'),
    ],
  ];
  const other = pairs.find(([, judged, held]) => judged !== held);
  if (other !== undefined) throw failed(`the verdict is about another ${other[0]} than its report`);
  if (!isSame(verdict.claimedMetrics, report.claimedMetrics))
    throw failed('the verdict claims other metrics than its report');
}

function isSame(a: Json, b: Json): boolean {
  return canonical(a) === canonical(b);
}

function word(passed: boolean): string {
  return passed ? 'PASS' : 'STOP';
}
