import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { OpenBundle } from '../../adapters/bundle/read-bundle.js';
import { acceptanceSchema, submissionSchema } from '../../compiler/values.js';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.js';
import {
  canonical,
  check,
  failed,
  outputsOf,
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
  const checks: Check[] = [];
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
        if (!wasSent(effect)) return 'nothing was sent';
        const intent = isJsonObject(effect['intent']) ? effect['intent'] : {};
        const { report: verdict } = await readVerdict(bundle, String(intent['verdict']));
        if (!verdict.passed) throw failed('the gate has not passed what was submitted');
        if (
          intent['patchSha256'] !== verdict.evidence.patch.file.sha256 ||
          intent['artifactSha256'] !== verdict.evidence.artifact.file.sha256
        )
          throw failed('another patch or artifact was submitted than the gate has passed');
        const outputs = stored.get(path);
        if (outputs === null || outputs === undefined)
          return 'what was sent is what the gate has passed; nothing was read back';
        const submission = shaped(outputs['submission'], submissionSchema, 'the submission');
        const { raw } = await readJsonOf(bundle, submission.record.sha256, {
          what: 'the submission as it was stored',
          schema: anyObject,
        });
        assertStored(raw, submission.id, {
          patchSha256: intent['patchSha256'],
          artifactSha256: intent['artifactSha256'],
          claimedMetrics: verdict.claimedMetrics,
        });
        return 'what was stored is what the gate has passed';
      }),
    );
  }
  return checks;
}

function wasSent({ tries, settled }: JsonObject): boolean {
  return (Array.isArray(tries) && tries.length > 0) || settled !== undefined;
}

/** A member that was not served cannot differ. */
function assertStored(
  stored: JsonObject,
  id: string,
  passed: {
    readonly patchSha256: string;
    readonly artifactSha256: string;
    readonly claimedMetrics: { readonly [name: string]: number };
  },
): void {
  if (stored['id'] !== undefined && stored['id'] !== id)
    throw failed(`what was read back is submission ${JSON.stringify(stored['id'])}, not ${id}`);
  const { patch, artifact_sha256: artifact, claimed_metrics: metrics } = stored;
  if (typeof patch === 'string' && sha256(patch) !== passed.patchSha256)
    throw failed('the stored patch is another one than the gate has passed');
  if (typeof artifact === 'string' && artifact !== passed.artifactSha256)
    throw failed('the stored artifact is another one than the gate has passed');
  if (isJsonObject(metrics) && !isSame(metrics, { ...passed.claimedMetrics }))
    throw failed('the stored claim is of other metrics than were measured');
}

const acceptanceRecord = z.object({
  submission: z.object({ id: z.string(), status: z.string() }),
  detail: z.unknown(),
});

/** Whether each acceptance is what the coordinator served. */
export async function checkAcceptances(bundle: OpenBundle): Promise<Check[]> {
  const checks: Check[] = [];
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

function observedOf({ submission, detail }: JsonObject): JsonObject[] {
  const verifications = isJsonObject(detail) ? detail['verifications'] : null;
  return [submission, ...(Array.isArray(verifications) ? verifications : [])]
    .map((place) => (isJsonObject(place) ? place['observed_metrics'] : null))
    .filter(isJsonObject);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function isSame(a: Json, b: Json): boolean {
  return canonical(a) === canonical(b);
}
