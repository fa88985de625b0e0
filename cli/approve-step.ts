/** `adit approve`: what an approval shows, whole and compared with its digest, and the answer. */
import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createTextMask } from '../adapters/secrets/text-mask.js';
import { StepError } from '../core/error.js';
import { isJsonObject } from '../core/json.js';
import { digestOfAsked } from '../core/run-approve.js';
import type { RunView, StepView } from '../core/run-view.js';
import {
  APPROVAL_QUERY,
  APPROVE_UPDATE,
  type Approval,
  type ApprovalView,
} from '../workflows/contract.js';
import { findStep, readOpenRun, sendAnswer } from './answer-run.js';
import type { ApproveOptions } from './commands/approve.js';
import { CliFailure, EXIT } from './failure.js';
import { isNamed } from './find-step.js';
import { secretFiles } from './known-secrets.js';
import { approvalToJson, printWaiting } from './list-approvals.js';
import { clean, paint, print, printJson } from './output.js';
import { ownName } from './own-name.js';
import { decideCommand, parkedIn } from './parked-steps.js';
import { printApproval, type FileOrProblem } from './print-approval.js';
import { createPrintableOutput } from './printable-output.js';
import { ownPerson, readAnswerFields, type GivenAnswer } from './read-approval.js';
import { workflowOf } from './run-parts.js';
import { evidenceRoots } from './run-record.js';
import { openSession, type Session } from './session.js';
import { readShown, refsIn } from './shown-files.js';

const QUERY_TIMEOUT_MS = 5_000;

/** Shows what is asked, the files included, and what each answer would be. */
export async function showApproval(
  options: ApproveOptions,
  runId: string,
  given: string,
): Promise<void> {
  const session = await openSession(options);
  try {
    const { step, shown } = await readWaiting(session, runId, given);
    const files = await readFiles(session, shown);
    if (options.json === true) {
      printJson({
        ...approvalToJson(runId, { ...step, approval: shown.state }),
        summary: shown.asked.summary,
        show: shown.asked.show,
        fields: shown.asked.fields,
        files: files.map(fileToJson),
      });
      return;
    }
    const command = decideCommand(runId, step);
    printWaiting({ runId, step });
    print();
    const mask = createTextMask(secretFiles(session.settings));
    printApproval(shown, files, { command, mask });
    const fields = shown.asked.fields
      .filter(({ required }) => required)
      .map(({ name }) => ` --field ${name}=…`);
    print(`
Answers:
  ${command} --approve --digest ${shown.state.digest}${fields.join('')}
  ${command} --reject --digest ${shown.state.digest} --reason TEXT
      the run stops; \`finally\` steps still run`);
  } finally {
    await session.close();
  }
}

/** Prints one of the files to stdout: as it is, at a terminal made harmless. */
export async function printShownFile(
  options: ApproveOptions,
  runId: string,
  given: string,
): Promise<void> {
  const session = await openSession(options);
  try {
    const { step, shown } = await readWaiting(session, runId, given);
    const refs = refsIn(shown.asked.show);
    const ref = refs.find(({ name }) => name === options.file);
    if (ref === undefined) {
      const names = refs.map(({ name }) => name).join(', ');
      throw new CliFailure('USAGE', `${step.path} shows no file \`${options.file ?? ''}\`.`, {
        hint: names === '' ? 'It shows no files.' : `It shows: ${names}.`,
        exitCode: EXIT.usage,
      });
    }
    const { file } = await readShown(ref, evidenceRoots(session.settings.stateDir));
    if (!process.stdout.isTTY) {
      await pipeline(createReadStream(file), process.stdout, { end: false });
      return;
    }
    const output = createPrintableOutput();
    for await (const piece of createReadStream(file))
      process.stdout.write(output.push(piece as Buffer));
    process.stdout.write(output.end());
  } finally {
    await session.close();
  }
}

/** Sends an answer to the run, and says what came of it. */
export async function answerApproval(
  options: ApproveOptions,
  { runId, step: given, answer: said }: { runId: string; step: string; answer: GivenAnswer },
): Promise<void> {
  const { action } = said;
  const session = await openSession(options);
  try {
    const view = await readOpenRun(session, runId);
    // An answer that is repeated by its id may come when nothing waits any more: the run itself knows.
    const isRepeat = options.id !== undefined && !isWaiting(view, given);
    const step = isRepeat ? findStep(view, given) : findWaiting(view, given);
    const shown = isRepeat ? null : await readApproval(session, view, step.path);
    const fields =
      action === 'approve' && shown !== null
        ? readAnswerFields(said.fields, shown.asked.fields)
        : null;
    if (shown !== null && options.digest === undefined) await assertShown(session, shown);
    const answer: Approval = {
      id: options.id ?? randomUUID(),
      step: step.path,
      action,
      digest: options.digest ?? shown?.state.digest ?? step.approval?.digest ?? '',
      by: options.by ?? ownPerson(),
      ...(fields === null ? {} : { fields }),
      ...(options.reason === undefined ? {} : { reason: options.reason }),
    };
    const workflowId = workflowOf(view, runId, step.path);
    const result = await sendAnswer(session, { runId, workflowId }, APPROVE_UPDATE, answer);
    const { repeated = false, approved = 0, quorum = 0 } = result;
    const { id, by, digest } = answer;
    if (options.json === true) {
      printJson({ runId, step: step.path, action, id, by, digest, repeated, approved, quorum });
      return;
    }
    const again = repeated === true ? ' (it had been counted before)' : '';
    const count =
      action === 'approve' && quorum !== 0 ? `: ${String(approved)} of ${String(quorum)}` : '';
    const word = action === 'approve' ? 'Approved' : 'Rejected';
    print(`${word} by ${clean(by)}: ${clean(step.path)} of ${runId}${count}${again}.`);
    print(paint.dim(`For what has the digest ${clean(digest)}.`));
    print(`Follow it with: ${ownName()} watch ${runId}`);
  } finally {
    await session.close();
  }
}

/** The step that waits, and what it shows. */
async function readWaiting(
  session: Session,
  runId: string,
  given: string,
): Promise<{ readonly step: StepView; readonly shown: ApprovalView }> {
  const view = await readOpenRun(session, runId);
  const step = findWaiting(view, given);
  return { step, shown: await readApproval(session, view, step.path) };
}

/** What is shown and asked, as the run itself says it, with its digest made anew. */
async function readApproval(session: Session, view: RunView, path: string): Promise<ApprovalView> {
  const { runId } = view;
  const shown = await session.client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () =>
    session.client.workflow
      .getHandle(workflowOf(view, runId, path))
      .query<ApprovalView | null, [string]>(APPROVAL_QUERY, path),
  );
  if (!isJsonObject(shown)) throw notWaiting(runId, `${path} no longer waits`, []);
  const digest = digestOfAsked(shown.asked);
  if (digest === shown.state.digest) return shown;
  throw new CliFailure(
    'APPROVAL_CHANGED',
    `What the run shows for ${path} has the digest ${digest}, and it says ${shown.state.digest}.`,
    { hint: 'Do not approve it. Is the worker of another version than this command?' },
  );
}

/** Whoever has not said what they looked at approves what is shown now: all of it must be there to be looked at. */
async function assertShown(session: Session, shown: ApprovalView): Promise<void> {
  for (const file of await readFiles(session, shown)) {
    if (!('problem' in file)) continue;
    throw new CliFailure(file.code, `The file ${file.name} cannot be shown: ${file.problem}`, {
      hint: 'Answer where it can be looked at; or name what you have looked at with --digest.',
    });
  }
}

async function readFiles(
  { settings }: Session,
  { asked }: ApprovalView,
): Promise<(FileOrProblem & { readonly code: string })[]> {
  const roots = evidenceRoots(settings.stateDir);
  const files: (FileOrProblem & { readonly code: string })[] = [];
  for (const ref of refsIn(asked.show)) {
    try {
      files.push({ ...(await readShown(ref, roots)), code: '' });
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      const problem = [error.message, error.hint].filter(Boolean).join(' ');
      files.push({ name: ref.name, problem, code: error.code });
    }
  }
  return files;
}

function fileToJson(file: FileOrProblem): object {
  if ('problem' in file) return { name: file.name, path: null, problem: file.problem };
  const { sha256, sizeBytes } = file.ref;
  return { name: file.name, sha256, sizeBytes, path: file.file, problem: null };
}

function isWaiting(view: RunView, given: string): boolean {
  return waitingIn(view).some(({ path }) => isNamed(path, given));
}

function waitingIn(view: RunView): StepView[] {
  return parkedIn(view).filter(({ approval }) => approval !== undefined);
}

function findWaiting(view: RunView, given: string): StepView {
  const waiting = waitingIn(view);
  const [only, ...others] = waiting.filter(({ path }) => isNamed(path, given));
  if (only !== undefined && others.length === 0) return only;
  const step = findStep(view, given);
  const exact = waiting.find(({ path }) => path === step.path);
  if (exact !== undefined) return exact;
  if (step.status === 'parked')
    throw notWaiting(view.runId, `${step.path} waits for a decision, not for approval`, [step]);
  throw notWaiting(view.runId, `${step.path} is ${step.status}; it waits for nobody`, waiting);
}

function notWaiting(runId: string, what: string, instead: readonly StepView[]): CliFailure {
  return new CliFailure('STEP_NOT_PARKED', `The step ${what} (run "${runId}").`, {
    hint:
      instead.length === 0
        ? 'Nothing of this run waits for approval.'
        : `These wait: ${instead.map((step) => decideCommand(runId, step)).join(' · ')}`,
  });
}
