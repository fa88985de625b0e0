/**
 * An approval: what is shown is settled when it begins, and answers count for that alone. It waits in the state `parked`.
 * A run that goes on from a state shows the same again; if that were anything else, the answers before would not count.
 */
import { canonicalJson } from './canonical-json.js';
import { evaluateTemplate } from './evaluate.js';
import { scopeOf, summaryOf, type Frame } from './frame.js';
import type { JsonObject } from './json.js';
import {
  approvalNote,
  approvalOutputs,
  OpenApproval,
  type ApprovalState,
  type AskedApproval,
} from './open-approval.js';
import type { ApproveStep } from './plan.js';
import type { Powers } from './powers.js';
import { MAX_OUTPUT_BYTES } from './run-state.js';
import { momentOf } from './run-wait.js';
import { sha256OfAscii } from './sha256.js';
import { assertSize, expression, StepEnd } from './step-end.js';
import type { StepStates } from './step-states.js';

/** The outputs of the step. Throws APPROVAL_REJECTED, APPROVAL_EXPIRED, or a cancellation. */
export async function runApprove(
  step: ApproveStep,
  path: string,
  frame: Frame,
  { states, powers }: { readonly states: StepStates; readonly powers: Powers },
): Promise<JsonObject> {
  const asked = askedOf(step, path, frame);
  const digest = expression(path, 'show', () => digestOfAsked(asked));
  const before = states.get(path);
  const startedAt = before?.startedAt ?? states.iso();
  const goesOn = before?.approval?.digest === digest ? before.approval : undefined;
  const record = (approval: ApprovalState): void =>
    states.set(path, {
      status: 'parked',
      uses: step.kind,
      attempts: 0,
      startedAt,
      approval,
      note: approvalNote(approval),
    });
  const state = goesOn ?? begin(step, path, frame, digest, powers.now());
  record(state);
  const approval = new OpenApproval(path, asked, state, record);
  await powers.approve(approval);
  approval.close();
  const { rejected, approved } = approval.state;
  if (rejected !== undefined) {
    const why = rejected.reason === undefined ? '.' : `: ${rejected.reason}`;
    throw ended(path, 'APPROVAL_REJECTED', `${rejected.by} rejected ${path}${why}`);
  }
  if (approved.length < step.quorum) {
    const expiresAt = approval.state.expiresAt ?? '';
    throw ended(
      path,
      'APPROVAL_EXPIRED',
      `${path} had ${approved.length} of ${step.quorum} approvals when it expired at ${expiresAt}.`,
    );
  }
  const outputs = approvalOutputs(approval.state);
  assertSize(`The outputs of ${path}`, outputs, MAX_OUTPUT_BYTES, path);
  return outputs;
}

/** SHA-256 of all that a person is shown and asked, as canonical JSON; a file counts with its own digest in it. */
export function digestOfAsked({ summary, show, fields }: AskedApproval): string {
  const declared = fields.map(({ name, type, summary: what, required, default: instead }) => ({
    name,
    type: JSON.parse(JSON.stringify(type)) as JsonObject,
    summary: what,
    required,
    ...(instead === undefined ? {} : { default: instead }),
  }));
  return sha256OfAscii(canonicalJson({ summary, show, fields: declared }));
}

function askedOf(step: ApproveStep, path: string, frame: Frame): AskedApproval {
  const scope = scopeOf(frame);
  const show: JsonObject = {};
  for (const [name, template] of step.show)
    show[name] = expression(path, `show ${name}`, () => evaluateTemplate(template, scope));
  assertSize(`What ${path} shows`, show, MAX_OUTPUT_BYTES, path);
  return { summary: summaryOf(step.summary, path, frame), show, fields: step.fields };
}

function begin(
  { expires, quorum }: ApproveStep,
  path: string,
  frame: Frame,
  digest: string,
  nowMs: number,
): ApprovalState {
  const endsMs =
    expires === undefined ? null : momentOf({ for: expires }, path, 'expires', frame, nowMs);
  return {
    digest,
    quorum,
    ...(endsMs === null ? {} : { expiresAt: new Date(endsMs).toISOString() }),
    approved: [],
  };
}

function ended(path: string, code: string, message: string): StepEnd {
  const hint = '`adit retry` of the run asks again, with what it then shows.';
  return new StepEnd({ code, message, hint, step: path }, 'stopped');
}
