/** `adit decide`: what waits for a person, what is asked, and the answer. */
import { randomUUID } from 'node:crypto';
import type { RunView, StepView } from '../core/run-view.js';
import { DECIDE_UPDATE } from '../workflows/contract.js';
import { printWaiting } from './list-approvals.js';
import { findStep, readOpenRun, sendAnswer } from './answer-run.js';
import type { DecideOptions } from './commands/decide.js';
import { effectLines, effectOf, effectToJson } from './effect-lines.js';
import { CliFailure } from './failure.js';
import { isNamed } from './find-step.js';
import { clean, cleanLines, note, paint, print, printJson } from './output.js';
import { ownName } from './own-name.js';
import { decideCommand, findParked, parkedIn, type ParkedStep } from './parked-steps.js';
import { assertOutputs, toDecision, type Answer } from './read-decision.js';
import { evidenceRoots, toErrorJson } from './run-record.js';
import { workflowOf } from './run-parts.js';
import { openSession } from './session.js';

/** Lists the steps that wait for a person: of one run, or of all that are open. */
export async function listParked(options: DecideOptions, runId: string | undefined): Promise<void> {
  const session = await openSession(options);
  try {
    let parked: readonly ParkedStep[];
    let silent: readonly string[] = [];
    if (runId === undefined) ({ parked, silent } = await findParked(session));
    else {
      const view = await readOpenRun(session, runId);
      parked = parkedIn(view).map((step) => ({ runId, step }));
    }
    if (options.json === true) {
      printJson({ parked: parked.map(parkedToJson) });
    } else if (parked.length === 0) print('Nothing waits for a decision.');
    else
      parked.forEach((one) => (one.step.approval === undefined ? printParked : printWaiting)(one));
    if (silent.length > 0) {
      note(`No worker answered for ${silent.length} open runs: ${silent.slice(0, 5).join(', ')}`);
    }
  } finally {
    await session.close();
  }
}

/** Shows what is asked: the error, the evidence, and what each answer would do. */
export async function showParked(
  options: DecideOptions,
  runId: string,
  given: string,
): Promise<void> {
  const session = await openSession(options);
  try {
    const view = await readOpenRun(session, runId);
    const step = findParkedStep(view, given);
    const roots = evidenceRoots(session.settings.stateDir);
    const effect = await effectOf(roots, view.roundId, step.path);
    if (options.json === true) {
      printJson({
        ...parkedToJson({ runId, step }),
        effect: effect === null ? null : effectToJson(effect),
      });
      return;
    }
    printParked({ runId, step });
    if (effect !== null) for (const line of effectLines(effect)) print(line);
    const command = decideCommand(runId, step);
    print(`
Answers:
  ${command} --retry
      the next start of the step, with its tries counted anew${effect === null ? '' : '; it looks before it acts'}
  ${command} --value FILE
      takes a value that you know to be true as the outputs of ${clean(step.uses)} (${ownName()} steps ${clean(step.uses)})
  ${command} --fail
      the step fails with ${clean(step.error?.code ?? 'its error')}; \`finally\` steps still run`);
  } finally {
    await session.close();
  }
}

/** Sends an answer to the run, and says what came of it. */
export async function decideStep(
  options: DecideOptions,
  { runId, step: given, answer }: { runId: string; step: string; answer: Answer },
): Promise<void> {
  const session = await openSession(options);
  try {
    const view = await readOpenRun(session, runId);
    // A decision that is repeated by its id may come when the step is no longer parked: the run itself knows.
    const step = options.id === undefined ? findParkedStep(view, given) : findStep(view, given);
    if (answer.action === 'value') assertOutputs(step.uses, answer.outputs);
    const decision = toDecision(answer, step.path, options, randomUUID());
    const { repeated = false } = await sendAnswer(
      session,
      { runId, workflowId: workflowOf(view, runId, step.path) },
      DECIDE_UPDATE,
      decision,
    );
    if (options.json === true) {
      printJson({ runId, step: step.path, action: decision.action, id: decision.id, repeated });
    } else {
      const again = repeated === true ? ' (it had been counted before)' : '';
      print(`Decided: ${decision.action} for ${clean(step.path)} of ${runId}${again}.`);
      print(`Follow it with: ${ownName()} watch ${runId}`);
    }
  } finally {
    await session.close();
  }
}

function findParkedStep(view: RunView, given: string): StepView {
  const parked = parkedIn(view);
  const named = parked.filter(({ path }) => isNamed(path, given));
  const [only] = named;
  if (only !== undefined && named.length === 1) {
    if (only.approval === undefined) return only;
    throw new CliFailure(
      'STEP_NOT_PARKED',
      `The step ${only.path} of the run "${view.runId}" waits for approval, not for a decision.`,
      { hint: `Look at it with: ${decideCommand(view.runId, only)}` },
    );
  }
  const step = findStep(view, given);
  throw new CliFailure(
    'STEP_NOT_PARKED',
    `The step ${step.path} of the run "${view.runId}" is ${step.status}; it waits for nobody.`,
    {
      hint:
        parked.length === 0
          ? 'Nothing of this run waits for a decision.'
          : `These wait: ${parked.map(({ path }) => path).join(', ')}.`,
    },
  );
}

function parkedToJson({ runId, step }: ParkedStep): object {
  return {
    runId,
    step: step.path,
    uses: step.uses,
    attempts: step.attempts,
    startedAt: step.startedAt ?? null,
    note: step.note ?? null,
    error: step.error === undefined ? null : toErrorJson(step.error, step.path),
  };
}

function printParked({ runId, step }: ParkedStep): void {
  print(
    `${paint.bold(clean(runId))}  ${paint.yellow('parked')}  ${clean(step.path)}  ${paint.dim(clean(step.uses))}`,
  );
  if (step.error !== undefined) {
    print(`  ${clean(step.error.code)}: ${cleanLines(step.error.message)}`);
    if (step.error.hint !== undefined && step.error.hint !== '')
      print(`  ${cleanLines(step.error.hint)}`);
  }
  if (step.note !== undefined) print(`  ${clean(step.note)}`);
  print(`  ${decideCommand(runId, step)}`);
}
