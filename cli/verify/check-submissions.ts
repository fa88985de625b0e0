import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import { toSubmissionBody } from '../../activities/submission-body.js';
import { differingMembers } from '../../activities/submission-difference.js';
import type { SubmissionBody } from '../../adapters/coordinator/coordinator.js';
import { acceptanceSchema, submissionSchema, type Submission } from '../../compiler/values.js';
import { isJsonObject, type JsonObject } from '../../core/json.js';
import {
  canonical,
  check,
  CheckEnd,
  checksWithoutRecord,
  failed,
  notFromHere,
  outputsOf,
  readFileOf,
  readJsonOf,
  shaped,
  stepsOf,
  type Check,
} from './check.js';
import { readVerdict } from './check-gate.js';

const SUBMISSION = 'submission';
const anyObject = z.record(z.string(), z.unknown());

/** Whether nothing was submitted but what a gate of the bundle has passed, and whether that is what was stored. */
export async function checkSubmissions(bundle: OpenBundle): Promise<Check[]> {
  const checks = checksWithoutRecord(bundle, 'submission', 'coordinator.submit');
  const stored = new Map(
    stepsOf(bundle, 'coordinator.submit').map((record) => [record.name, outputsOf(record)]),
  );
  const sent = bundle.records('effect').filter(({ value }) => value['what'] === SUBMISSION);
  const paths = new Set([
    ...sent.map(({ name }) => name),
    ...[...stored].flatMap(([name, outputs]) => (outputs === null ? [] : [name])),
  ]);
  for (const path of paths) {
    const effect = sent.find(({ name }) => name === path)?.value;
    checks.push(
      await check('submission', path, async () => {
        if (effect === undefined) throw failed('there is no record of what was sent');
        const requests = requestsOf(effect);
        if (requests.length === 0) return 'nothing was sent';
        const bodies: SubmissionBody[] = [];
        for (const request of requests) bodies.push(await bodyOf(bundle, request));
        const outputs = stored.get(path);
        if (outputs === null || outputs === undefined)
          return 'what was sent is what the gate has passed; nothing was read back';
        const submission = shaped(outputs['submission'], submissionSchema, 'the submission');
        const { raw } = await readJsonOf(bundle, submission.record.sha256, {
          what: 'the submission as it was stored',
          schema: anyObject,
        });
        assertStored(raw, submission, bodies);
        return 'what was sent and stored is what the gate has passed';
      }),
    );
  }
  return checks;
}

/** What each request was about: the record's intent, or what a try says in its place. */
function requestsOf({ intent, sentSha256, tries, settled }: JsonObject): JsonObject[] {
  const first = isJsonObject(intent) ? { ...intent, sentSha256: sentSha256 ?? '' } : {};
  const made = Array.isArray(tries) ? tries.filter(isJsonObject) : [];
  const requests = made.map(({ about }) => (isJsonObject(about) ? about : first));
  const all = requests.length === 0 && settled !== undefined ? [first] : requests;
  return [...new Map(all.map((request) => [canonical(request), request])).values()];
}

/** The body of a request, made anew from what the gate has passed; it must be what was sent, by its digest. */
async function bodyOf(bundle: OpenBundle, request: JsonObject): Promise<SubmissionBody> {
  const { report } = await readVerdict(bundle, String(request['verdict']));
  if (!report.passed) throw failed('the gate has not passed what was submitted');
  const { patch, artifact } = report.evidence;
  if (
    request['patchSha256'] !== patch.file.sha256 ||
    request['artifactSha256'] !== artifact.file.sha256
  )
    throw failed('another patch or artifact was submitted than the gate has passed');
  const body = toSubmissionBody(
    {
      claimId: String(request['claimId']),
      verdict: {
        statement: report.statement,
        claimedMetrics: report.claimedMetrics,
        commit: patch.commit,
      },
      artifact,
    },
    (await readFileOf(bundle, patch.file.sha256, 'the patch')).toString('utf8'),
  );
  // Of a build before, which kept no digest of what it sent.
  if (request['sentSha256'] !== '' && sha256(canonical(body)) !== request['sentSha256'])
    throw failed('the digest of what was sent is not that of what the gate has passed');
  return body;
}

/** A member that was not served cannot differ; where none is, nothing can be told. */
function assertStored(
  stored: JsonObject,
  { id, claimId }: Submission,
  bodies: readonly SubmissionBody[],
): void {
  if (stored['id'] !== undefined && stored['id'] !== id)
    throw failed(`what was read back is submission ${JSON.stringify(stored['id'])}, not ${id}`);
  const work = ['patch', 'artifact_sha256', 'claimed_metrics'];
  if (!work.some((name) => Object.hasOwn(stored, name)))
    throw new CheckEnd('not made', 'the coordinator served nothing of what it stored');
  const differing = bodies.map((body) => differingMembers({ ...body, claim_id: claimId }, stored));
  if (differing.some((names) => names.length === 0)) return;
  throw failed(`what was stored has another ${differing[0]?.join(', ')} than the gate has passed`);
}

const acceptanceRecord = z.object({
  submission: z.object({ id: z.string(), status: z.string() }),
  detail: z.unknown(),
});

/** Whether each acceptance is what the coordinator served. */
export async function checkAcceptances(bundle: OpenBundle): Promise<Check[]> {
  const checks = checksWithoutRecord(bundle, 'acceptance', 'coordinator.acceptance');
  for (const record of stepsOf(bundle, 'coordinator.acceptance')) {
    const outputs = outputsOf(record);
    if (outputs === null) continue;
    checks.push(
      await check('acceptance', record.name, async () => {
        const acceptance = shaped(outputs['acceptance'], acceptanceSchema, 'the acceptance');
        const { value, raw } = await readJsonOf(bundle, acceptance.record.sha256, {
          what: 'the record of the acceptance',
          schema: acceptanceRecord,
        });
        if (!isKnown(bundle, acceptance.submissionId, record.name))
          throw notFromHere(bundle, 'it is of a submission that nothing in the bundle names');
        if (value.submission.id !== acceptance.submissionId)
          throw failed(`its record is of submission ${value.submission.id}`);
        if (value.submission.status !== 'accepted')
          throw failed(`its record says ${value.submission.status}`);
        const observed = observedOf(raw).find((numbers) =>
          Object.entries(acceptance.observedMetrics).every(([name, is]) => numbers[name] === is),
        );
        if (observed === undefined) throw failed('its record holds other observed metrics');
        return 'as the coordinator served it';
      }),
    );
  }
  return checks;
}

/** True when a submission is what another step returned, or an input. */
function isKnown(bundle: OpenBundle, id: string, except: string): boolean {
  const text = JSON.stringify(id);
  const named = [
    ...bundle.records('plan').map(({ value }) => value['inputs'] ?? null),
    ...bundle.records('step').flatMap((record) => {
      const outputs = record.name === except ? null : outputsOf(record);
      return outputs === null ? [] : [outputs];
    }),
  ];
  return named.some((value) => JSON.stringify(value).includes(text));
}

function observedOf({ submission, detail }: JsonObject): JsonObject[] {
  const verifications = isJsonObject(detail) ? detail['verifications'] : null;
  return [submission, ...(Array.isArray(verifications) ? verifications : [])]
    .map((place) => (isJsonObject(place) ? place['observed_metrics'] : null))
    .filter(isJsonObject);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
