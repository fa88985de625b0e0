/** Compares a stored submission with what was sent, member by member. */
import type { SubmissionBody } from '../adapters/coordinator/coordinator.js';
import { canonicalJson } from '../core/canonical-json.js';
import type { Json, JsonObject } from '../core/json.js';

/** Members that say what the work is; `claim_id` is among them, but it is not known to be served (protocol 2.7). */
const MEMBERS = [
  'claim_id',
  'base_ref',
  'patch',
  'summary',
  'claimed_metrics',
  'proposed_idea',
  'implemented_submission_id',
  'artifact_uri',
  'artifact_sha256',
  'artifact_size_bytes',
] as const satisfies readonly (keyof SubmissionBody)[];

/**
 * Names of the members that differ. A member that is not served cannot differ; null and blank both mean
 * that there is none.
 */
export function differingMembers(sent: SubmissionBody, stored: JsonObject): string[] {
  return MEMBERS.filter((name) => Object.hasOwn(stored, name) && !isSame(sent[name], stored[name]));
}

/** True when enough of the members that identify the work are served for an equality to mean something. */
export function identifiesWork(stored: JsonObject): boolean {
  const served = (['patch', 'artifact_sha256'] as const).some(
    (name) => typeof stored[name] === 'string',
  );
  return served && typeof stored['summary'] === 'string';
}

function isSame(sent: Json | undefined, stored: Json | undefined): boolean {
  const left = sent === undefined || sent === '' ? null : sent;
  const right = stored === undefined || stored === '' ? null : stored;
  return canonicalJson(left) === canonicalJson(right);
}
