import type { StepView } from '../core/run-view.js';
import { readOpenRun } from './answer-run.js';
import type { ApproveOptions } from './commands/approve.js';
import { clean, note, paint, print, printJson } from './output.js';
import { decideCommand, findParked, parkedIn, type ParkedStep } from './parked-steps.js';
import { openSession } from './session.js';

/** Lists the steps that wait for approval: of one run, or of all that are open. */
export async function listApprovals(
  options: ApproveOptions,
  runId: string | undefined,
): Promise<void> {
  const session = await openSession(options);
  try {
    let parked: readonly ParkedStep[];
    let silent: readonly string[] = [];
    if (runId === undefined) ({ parked, silent } = await findParked(session));
    else {
      const view = await readOpenRun(session, runId);
      parked = parkedIn(view).map((step) => ({ runId, step }));
    }
    const waiting = parked.filter(({ step }) => step.approval !== undefined);
    if (options.json === true) {
      printJson({ approvals: waiting.map((one) => approvalToJson(one.runId, one.step)) });
    } else if (waiting.length === 0) print('Nothing waits for approval.');
    else waiting.forEach(printWaiting);
    if (silent.length > 0) {
      note(`No worker answered for ${silent.length} open runs: ${silent.slice(0, 5).join(', ')}`);
    }
  } finally {
    await session.close();
  }
}

/** How an approval stands; the shape is public (docs/cli.md). */
export function approvalToJson(runId: string, { path, approval }: StepView): object {
  return {
    runId,
    step: path,
    digest: approval?.digest ?? null,
    quorum: approval?.quorum ?? null,
    expiresAt: approval?.expiresAt ?? null,
    approved: approval?.approved ?? [],
  };
}

export function printWaiting({ runId, step }: ParkedStep): void {
  print(
    `${paint.bold(clean(runId))}  ${paint.yellow('parked')}  ${clean(step.path)}  ${paint.dim(clean(step.uses))}`,
  );
  if (step.note !== undefined) print(`  ${clean(step.note)}`);
  print(`  ${decideCommand(runId, step)}`);
}
